"""DynaBERT's widths: heads and neurons of any transformer, cut by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Convert, RunConfig, supernet, utils
from tests.ofa.encoder import BATCHES, HIDDEN, LAYERS, Encoder, converted, encoder, encoder_forward
from tests.tiny import paddle, randomise

nn = paddle.nn


@pytest.mark.parametrize(
    ("width", "heads", "neurons"),
    [(1.0, 4, 24), (0.5, 2, 12), (0.67, 3, 16), (0.3, 1, 7), (0.83, 3, 20), (0.01, 1, 1)],
)
def test_any_width_is_the_network_cut_by_hand(width, heads, neurons):
    ofa = OFA(converted(encoder()))
    ofa.eval()
    config = utils.dynabert_config(ofa, width)
    ofa.set_net_config(config)
    ids, types, _ = BATCHES[0]
    expected = encoder_forward(ofa.model, ids.numpy(), heads, neurons)
    np.testing.assert_allclose(ofa(ids, types).numpy(), expected, atol=1e-5)
    small = ofa.export(config)
    np.testing.assert_allclose(small(ids, types).numpy(), expected, atol=1e-5)
    assert type(small.encoder.layers[0].self_attn) is nn.MultiHeadAttention
    assert small.encoder.layers[0].self_attn.num_heads == heads
    assert small.encoder.layers[1].linear2.weight.shape == [neurons, HIDDEN]


def test_widths_go_where_the_structure_says():
    ofa = OFA(converted(encoder()))
    config = utils.dynabert_config(ofa, 0.5)
    narrowed = {name for name, sizes in config.items() if sizes["expand_ratio"] == 0.5}
    expected = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "linear1"}
    assert narrowed == {f"encoder.layers.{i}.{name}" for i in range(LAYERS) for name in expected}
    assert {sizes["expand_ratio"] for name, sizes in config.items() if name not in narrowed} == {
        1.0
    }
    assert "pooler" in config


def test_widths_in_channels_and_a_feed_forward_of_ones_own():
    class Own(nn.Layer):
        def __init__(self):
            super().__init__()
            self.enter, self.leave = nn.Linear(4, 10), nn.Linear(10, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            return self.head(x + self.leave(paddle.tanh(self.enter(x))))

    model = Convert(supernet(channel=[(5, 10), (2, 4), (2,)])).convert(Own())
    config = utils.dynabert_config(OFA(model), 0.5)
    assert config == {"enter": {"channel": 5}, "leave": {"channel": 4}}


class Shallower(Encoder):
    """An encoder of whose layers the first ``depth`` run."""

    def forward(self, input_ids, depth=None):
        x = self.before(self.embed(input_ids))
        for layer in self.encoder.layers[:depth]:
            x = layer(x)
        return self.classifier(paddle.tanh(self.pooler(x[:, 0])))


def test_a_configuration_without_a_depth_is_of_the_deepest():
    model = Shallower()
    randomise(model)
    ofa = OFA(converted(model), RunConfig(elastic_depth=[1, 2]))
    ofa.eval()
    ids, *_ = BATCHES[0]
    ofa.set_net_config(utils.dynabert_config(ofa, 0.5))
    assert ofa.get_current_config["depth"] == 2
    expected = encoder_forward(ofa.model, ids.numpy(), 2, 12)
    np.testing.assert_allclose(ofa(ids).numpy(), expected, atol=1e-5)
    assert utils.dynabert_config(ofa, 0.5, depth_mult=1)["depth"] == 1
    with pytest.raises(InputError, match=r"depth must be one of \[1, 2\]; got 1\.0"):
        ofa.set_net_config(utils.dynabert_config(ofa, 0.5, depth_mult=1.0))
    assert "depth" not in utils.dynabert_config(OFA(ofa.model), 0.5)


def test_a_wrong_width():
    with pytest.raises(InputError, match="width_mult must be above 0 and at most 1"):
        utils.dynabert_config(OFA(converted(encoder())), 1.5)
    with pytest.raises(InputError, match="dynabert_config takes an OFA; got a "):
        utils.dynabert_config(converted(encoder()), 0.5)
