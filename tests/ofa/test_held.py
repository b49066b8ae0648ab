"""Layers that a network also holds in its own lists, tuples and dicts are converted there too."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from ofa_bert.ofa import OFA, Block, Convert, RunConfig, supernet
from tests.ofa.values import draw, randomised
from tests.tiny import paddle

nn = paddle.nn
X = paddle.to_tensor(draw(3, 4))
UNTIED = RunConfig(same_search_space=[])
CONFIG = {"one": {"expand_ratio": 0.5}, "two": {"expand_ratio": 0.25}}


class Held(nn.Layer):
    """Three linear layers, which run from where ``hold`` has put them."""

    def __init__(self, hold):
        super().__init__()
        self.one, self.two = nn.Linear(4, 8), nn.Linear(8, 8)
        last = self.add_sublayer("last", nn.Linear(8, 2))
        self.held = hold([self.one, self.two, last])

    def forward(self, x):
        held = self.held
        while not isinstance(held, list | tuple):
            held = list(held.values())
        for layer in held if len(held) == 3 else held[0]:
            x = paddle.tanh(layer(x))
        return x


def by_hand(original, x, one=8, two=8):
    w = {name: p.numpy() for name, p in original.named_parameters()}
    for name, width in (("one", one), ("two", two), ("last", 2)):
        x = np.tanh(x @ w[f"{name}.weight"][: x.shape[1], :width] + w[f"{name}.bias"][:width])
    return x


HOLDS = {
    "list": list,
    "tuple": tuple,
    "dict": lambda layers: dict(enumerate(layers)),
    "dict of lists": lambda layers: {"all": list(layers)},
    "list of tuples": lambda layers: [tuple(layers)],
}


@pytest.mark.parametrize("hold", HOLDS.values(), ids=HOLDS)
def test_what_runs_is_what_was_converted_and_what_is_exported(hold):
    original = randomised(Held(hold))
    model = Convert(supernet(expand_ratio=[0.25, 0.5, 1.0])).convert(copy.deepcopy(original))
    ofa = OFA(model, UNTIED)
    ofa.eval()
    np.testing.assert_allclose(ofa(X).numpy(), by_hand(original, X.numpy()), atol=1e-6)
    ofa.set_net_config(CONFIG)
    expected = by_hand(original, X.numpy(), 4, 2)
    np.testing.assert_allclose(ofa(X).numpy(), expected, atol=1e-6)
    small = ofa.export(CONFIG)
    cut = ofa.export(CONFIG, [[1, 4]], ["float32"], origin_model=original)
    for network in (small, cut):
        np.testing.assert_allclose(network(X).numpy(), expected, atol=1e-6)
        for parameter in network.parameters():
            parameter.set_value(paddle.zeros_like(parameter))
        assert network(X).abs().max().item() == 0.0
    assert isinstance(model.one, Block)  # an export leaves what the supernet holds


def test_a_layer_kept_past_paddles_registration():
    class Past(nn.Layer):
        def __init__(self):
            super().__init__()
            self.one, self.last = nn.Linear(4, 8), nn.Linear(8, 2)
            self.__dict__["first"] = self.one

        def forward(self, x):
            return self.last(self.first(x))

    model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(randomised(Past()))
    assert model.first is model.one
    assert isinstance(model.one, Block)
