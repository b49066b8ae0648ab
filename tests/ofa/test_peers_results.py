"""The faults C of test_peers: results that are silently wrong, and crashes."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Convert, DistillConfig, layers, supernet, utils
from tests.ofa.chain import UNTIED, Chain, X, chain
from tests.ofa.encoder import IDS, converted, encoder
from tests.ofa.values import close, draw, randomised, run
from tests.tiny import paddle

nn = paddle.nn


def with_teacher(teacher=None, **settings):
    teacher = teacher or randomised(Chain())
    return OFA(chain(), UNTIED, DistillConfig(teacher_model=teacher, **settings)), teacher


# Wrong results


def test_c_batch_norm_does_not_keep_the_mode_of_its_first_call():
    layer = layers.SuperBatchNorm2D(4)
    x = draw(6, 4, 3, 3) * 3 + 5
    layer.train()
    run(layer, x)
    layer.eval()
    mean, variance = layer._mean.numpy(), layer._variance.numpy()
    expected = (x - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-5)
    close(run(layer, x), expected)
    assert abs(run(layer, x).mean().item()) > 1
    layer.train()
    assert abs(run(layer, x).mean().item()) < 1e-5


def test_c_a_tensor_as_mask_is_a_mask():
    plain = nn.MultiHeadAttention(8, 2)
    x = paddle.to_tensor(draw(2, 3, 8))
    mask = paddle.to_tensor(draw(2, 1, 3, 3))
    expected = plain(x, attn_mask=mask).numpy()
    elastic = Convert(supernet(expand_ratio=[1.0])).convert([plain, nn.Linear(1, 1)])[0]
    close(elastic(x, attn_mask=mask), expected, atol=1e-6)


def test_c_padding_is_left_out_of_the_loss():
    ofa, teacher = with_teacher(mapping_layers=["first"])
    teacher.first.bias.set_value(draw(6, seed=9))
    ofa.set_net_config({})
    x, mask = draw(2, 3, 4), paddle.to_tensor([[1, 1, 0], [1, 0, 0]])
    ofa(paddle.to_tensor(x))
    loss = ofa.calc_distill_loss(mask).item()
    x[0, 2] += 100.0
    x[1, 1:] += 100.0
    ofa(paddle.to_tensor(x))
    np.testing.assert_allclose(ofa.calc_distill_loss(mask).item(), loss, rtol=1e-5)


def test_c_operators_belong_to_the_layers_the_user_named():
    class Two(nn.Layer):
        def __init__(self, narrow):
            super().__init__()
            self.one, self.two = nn.Linear(4, narrow), nn.Linear(narrow, 7)
            self.head = nn.Linear(7, 2)

        def forward(self, x):
            return self.head(self.two(self.one(x)))

    model = Convert(supernet(expand_ratio=[1.0])).convert(Two(3))
    # In another order than the layers stand in.
    config = DistillConfig(teacher_model=Two(5), mapping_layers=["two", "one"], mapping_op="linear")
    ofa = OFA(model, UNTIED, config)
    assert [p.shape for p in ofa.netAs_param] == [[7, 7], [7], [3, 5], [5]]
    ofa(X)
    assert ofa.calc_distill_loss().item() > 0


# Crashes


def test_c_a_distillation_function_is_called():
    ofa, _ = with_teacher(
        mapping_layers=["first"], distill_fn=lambda ours, theirs: ours.sum() * 0 + 7
    )
    ofa(X)
    assert ofa.calc_distill_loss().item() == 7


def test_c_an_operator_on_a_composite_layer():
    ofa, _ = with_teacher(mapping_layers=["middle.0"], mapping_op="linear")
    teacher = encoder(1)
    config = DistillConfig(
        teacher_model=teacher, mapping_layers=["encoder.layers.0"], mapping_op="linear"
    )
    ofa = OFA(converted(encoder()), distill_config=config)
    ofa.set_net_config(utils.dynabert_config(ofa, 0.5))
    ofa(IDS)
    assert ofa.calc_distill_loss().item() > 0


def test_c_a_loss_without_mapped_layers_is_one_line():
    ofa, _ = with_teacher()
    ofa(X)
    with pytest.raises(InputError, match="give DistillConfig mapping_layers"):
        ofa.calc_distill_loss()


@pytest.mark.filterwarnings("ignore:When training, we now always track")
def test_c_an_export_cuts_batch_norms_too():
    model = nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4), nn.Conv2D(4, 2, 1))
    Convert(supernet(expand_ratio=[0.5, 1.0])).convert(model)
    ofa = OFA(model, UNTIED)
    small = ofa.export({"0": {"expand_ratio": 0.5}}, [[1, 3, 6, 6]], ["float32"])
    assert small[1]._mean.shape == [2]
    assert small(paddle.to_tensor(draw(2, 3, 6, 6))).shape == [2, 2, 4, 4]


def test_c_a_grouped_convolution_with_a_bias_shrinks():
    layer = layers.SuperGroupConv2D(4, 8, 3, groups=2)
    assert run(layer, draw(1, 4, 5, 5), channel=4).shape == [1, 4, 3, 3]


def test_c_plain_attention_and_decoders_run_beside_the_package():
    decoder = nn.TransformerDecoderLayer(8, 2, 16)
    x = paddle.to_tensor(draw(2, 3, 8))
    assert decoder(x, x).shape == [2, 3, 8]
    assert nn.MultiHeadAttention(8, 2)(x).shape == [2, 3, 8]


def test_c_a_network_that_cannot_be_traced_leaves_no_static_mode():
    class Odd(Chain):
        def forward(self, x):
            if float(x.numpy().sum()) > 0:
                x = x + 1
            return super().forward(x)

    model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(Odd())
    ofa = OFA(model)
    with pytest.raises(InputError) as caught:
        ofa(X)
    assert "\n" not in str(caught.value)
    assert paddle.in_dynamic_mode()
    assert model.training
    ofa.set_net_config({})
    assert ofa(X).shape == [3, 2]


def test_c_nothing_is_printed(capsys):
    ofa = OFA(chain(), UNTIED)
    ofa(X)
    ofa.export({}, [[1, 4]], ["float32"])
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_c_the_teacher_is_not_trained_by_the_models_optimiser():
    ofa, teacher = with_teacher()
    count = sum(p.size for p in ofa.parameters())
    assert count == sum(p.size for p in ofa.model.parameters())
    before = teacher.first.weight.numpy()
    optimizer = paddle.optimizer.SGD(1.0, parameters=ofa.parameters())
    student, answer = ofa(X)
    (student - answer).square().sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(teacher.first.weight.numpy(), before)
