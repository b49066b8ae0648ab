"""The distillation loss, in NumPy, and what cannot be distilled."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Convert, DistillConfig, RunConfig, supernet
from tests.ofa.chain import CONFIG, UNTIED, Chain, X, chain, distilled
from tests.ofa.values import draw, randomised
from tests.tiny import paddle

nn = paddle.nn


def test_the_loss_is_the_sum_over_mapped_layers():
    ofa, teacher = distilled(lambda_distill=0.25)
    ofa.set_net_config({})
    ofa(X)
    x, total = X.numpy(), 0.0
    ours = {n.replace(".fn", ""): p.numpy() for n, p in ofa.model.named_parameters()}
    theirs = {n: p.numpy() for n, p in teacher.named_parameters()}

    def outputs(w):
        first = x @ w["first.weight"] + w["first.bias"]
        inner = np.tanh(first)
        for layer in range(2):
            last = inner @ w[f"middle.{layer}.weight"] + w[f"middle.{layer}.bias"]
            inner = np.tanh(last)
        return first, last

    for student, answer in zip(outputs(ours), outputs(theirs), strict=True):
        total += ((student - answer) ** 2).mean()
    np.testing.assert_allclose(ofa.calc_distill_loss().item(), 0.25 * total, rtol=1e-5)


def test_a_loss_of_ones_own():
    ofa, _ = distilled(distill_fn=lambda ours, theirs: (ours - theirs).abs().max())
    ofa.set_net_config({})
    ofa(X)
    ofa.model.first.bias.set_value(ofa.model.first.bias)
    kept, answers = ofa._distillation.compared
    expected = sum(np.abs(kept[n].numpy() - answers[n].numpy()).max() for n in kept)
    np.testing.assert_allclose(ofa.calc_distill_loss().item(), expected, rtol=1e-6)


def test_padding_counts_in_no_loss():
    teacher = randomised(Chain())
    teacher.first.bias.set_value(draw(6, seed=5))
    ofa = OFA(chain(), UNTIED, DistillConfig(teacher_model=teacher, mapping_layers=["first"]))
    ofa.set_net_config({})
    x = paddle.to_tensor(draw(2, 5, 4))
    mask = paddle.to_tensor([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
    ofa(x)
    ours, theirs = (outputs["first"].numpy() for outputs in ofa._distillation.compared)
    seen = mask.numpy().astype(bool)
    expected = ((ours - theirs)[seen] ** 2).mean()
    np.testing.assert_allclose(ofa.calc_distill_loss(mask).item(), expected, rtol=1e-5)


@pytest.mark.parametrize("op", ["linear", "LINEAR"])
def test_an_operator_takes_any_width_to_the_teachers(op):
    ofa, _ = distilled(mapping_op=op)
    assert len(ofa.netAs_param) == 4
    assert not {id(p) for p in ofa.netAs_param} & {id(p) for p in ofa.parameters()}
    ofa.set_net_config({name: {"expand_ratio": 0.5} for name in CONFIG})
    ofa(X)
    ofa.calc_distill_loss().backward()
    assert all(p.grad is not None for p in ofa.netAs_param)


@pytest.mark.parametrize("op", ["conv", "conv2d"])
def test_a_convolution_as_operator_on_a_composite_layer(op):
    class Images(nn.Layer):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4), nn.ReLU())
            self.head = nn.Conv2D(4, 2, 1)

        def forward(self, x):
            return self.head(self.block(x))

    teacher = Images()
    teacher.block = nn.Sequential(nn.Conv2D(3, 8, 3), nn.ReLU())
    teacher.head = nn.Conv2D(8, 2, 1)
    model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(Images())
    config = DistillConfig(teacher_model=teacher, mapping_layers=["block"], mapping_op=op)
    ofa = OFA(model, UNTIED, config)
    assert ofa.netAs_param[0].shape == [8, 4, 1, 1]
    ofa.set_net_config({"block.0": {"expand_ratio": 0.5}})
    ofa(paddle.to_tensor(draw(2, 3, 6, 6)))
    assert ofa.calc_distill_loss().shape == []


def test_layers_that_did_not_run_count_in_no_loss():
    teacher = randomised(Chain())
    config = DistillConfig(teacher_model=teacher, mapping_layers=["first", "middle.2"])
    ofa = OFA(chain(), RunConfig(same_search_space=[], elastic_depth=[1, 3]), config)
    ofa.set_net_config({"depth": 1})
    ofa(X)
    # The student has the teacher's weights, and only its first layer ran.
    assert ofa.calc_distill_loss().item() < 1e-12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher_model": None}, "teacher_model must be a paddle.nn.Layer; got None"),
        ({"mapping_op": "conv3d"}, "conv2d, conv, linear or None; got 'conv3d'"),
        ({"mapping_layers": ["frist"]}, "no layer 'frist'; did you mean 'first'"),
        ({"mapping_layers": "first"}, r"list of names; got 'first'; type \['first'\]"),
        ({"distill_fn": 3}, "distill_fn must be a function"),
        ({"lambda_distill": -1}, "lambda_distill must be at least 0"),
        ({"lambda_distill": "0.1"}, "lambda_distill must be at least 0; got '0.1'"),
        ({"mapping_op": ["conv"]}, r"conv2d, conv, linear or None; got \['conv'\]"),
        ({"mapping_layers": [1]}, r"mapping_layers must be a list of names; got \[1\]"),
        ({"teacher_model_path": 5}, "a file or a state dict; got 5"),
        ({"teacher_model_path": "no.pdparams"}, "there is none at 'no.pdparams'"),
    ],
)
def test_distillation_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message) as caught:
        OFA(chain(), UNTIED, DistillConfig(**{"teacher_model": Chain(), **settings}))
    assert "\n" not in str(caught.value)


def test_widths_that_cannot_be_compared():
    ofa, _ = distilled()
    ofa.set_net_config({"first": {"expand_ratio": 0.5}})
    ofa(X)
    with pytest.raises(InputError, match=r"first gives \[3, 3\] here and \[3, 6\] in the teacher"):
        ofa.calc_distill_loss()


def test_the_loss_before_any_forward():
    ofa, _ = distilled()
    with pytest.raises(InputError, match="run the network first"):
        ofa.calc_distill_loss()
