"""Layers that a network also holds in its own lists, tuples and dicts are converted there too."""

from __future__ import annotations

import collections
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


def cyclic(layers):
    held = list(layers)
    own = {"held": held}
    own["own"] = own
    held[0].seen = [held, own, (own,)]
    return held


def deep(layers):
    inside = list(layers)
    for _ in range(3000):
        inside = [(inside,)]
    layers[0].deep = inside
    return list(layers)


@pytest.mark.parametrize("hold", [cyclic, deep])
def test_containers_that_hold_themselves_or_many_others(hold):
    original = randomised(Held(list))
    model = randomised(Held(hold))
    ofa = OFA(Convert(supernet(expand_ratio=[0.25, 0.5, 1.0])).convert(model), UNTIED)
    ofa.set_net_config(CONFIG)
    expected = by_hand(original, X.numpy(), 4, 2)
    np.testing.assert_allclose(ofa(X).numpy(), expected, atol=1e-6)
    inside = model.one.fn.deep if hold is deep else model.one.fn.seen[2][0]["own"]["held"]
    while hold is deep and len(inside) == 1:
        inside = inside[0]
    assert inside[1] is model.two


def test_a_tuple_in_a_tuple_that_stands_beside_it():
    def hold(layers):
        layers[0].both = (inner := (layers[1],), (inner, layers[1]), inner)
        return layers

    model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(Held(hold))
    inner, outer, again = model.one.fn.both
    assert inner is again is outer[0]
    assert inner[0] is outer[1] is model.two


class Own:
    def __init__(self, layers):
        self.layers = layers


@pytest.mark.parametrize(
    "hold", [lambda layers: collections.namedtuple("Three", "a b c")(*layers), Own]
)
def test_layers_that_run_from_elsewhere_have_no_choice(hold):
    class Elsewhere(Held):
        def forward(self, x):
            for layer in getattr(self.held, "layers", self.held):
                x = layer(x)
            return x

    model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(randomised(Elsewhere(hold)))
    ofa = OFA(model)
    ofa.trace(X)
    assert ofa.ofa_layers == {}
