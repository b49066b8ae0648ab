"""A network exported at a depth runs at it, however it is called, and is saved by paddle."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import weakref

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Convert, RunConfig, supernet
from tests.ofa.chain import Chain, by_hand
from tests.ofa.values import draw, randomised
from tests.tiny import paddle

X, SHIFT = draw(3, 4), draw(3, 2, seed=1)
CONFIG = {"depth": 1, "first": {"expand_ratio": 0.5}}
InputSpec = paddle.static.InputSpec


class Last(Chain):
    """A chain whose depth is its last argument."""

    def forward(self, x, shift=None, depth=None):
        x = Chain.forward(self, x, depth)
        return x if shift is None else x + shift


class Between(Chain):
    """Its depth stands between two tensors."""

    def forward(self, x, depth=None, shift=None):
        x = Chain.forward(self, x, depth)
        return x if shift is None else x + shift


class ByName(Chain):
    """Its depth goes by name only."""

    def forward(self, x, shift=None, *, depth=None):
        x = Chain.forward(self, x, depth)
        return x if shift is None else x + shift


class Anything(Chain):
    """Its depth is one of any further arguments."""

    def forward(self, x, shift=None, **options):
        x = Chain.forward(self, x, options["depth"])
        return x if shift is None else x + shift


def exported(cls):
    """Give a network at depth 1, and what it computes in NumPy."""
    model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(randomised(cls()))
    ofa = OFA(model, RunConfig(elastic_depth=(1, 3), same_search_space=[]))
    small = ofa.export(CONFIG, [[1, 4]], ["float32"])
    return small, by_hand(model, X, [3, 6], depth=1)


@pytest.mark.parametrize("cls", [Last, Between, ByName, Anything])
def test_it_takes_what_the_network_does_but_the_depth(cls):
    small, expected = exported(cls)
    x, shift = paddle.to_tensor(X), paddle.to_tensor(SHIFT)
    assert [n for n in inspect.signature(small.forward).parameters if n != "options"] == [
        "x",
        "shift",
    ]
    for network in (small, copy.deepcopy(small)):
        np.testing.assert_allclose(network(x).numpy(), expected, atol=1e-6)
        for result in (network(x, shift), network(x, shift=shift), network(shift=shift, x=x)):
            np.testing.assert_allclose(result.numpy(), expected + SHIFT, atol=1e-6)


@pytest.mark.parametrize("cls", [Last, Between, ByName, Anything])
@pytest.mark.parametrize("tensors", [1, 2])
def test_it_is_saved_and_loaded_by_paddle(cls, tensors, tmp_path):
    small, expected = exported(cls)
    specs = [InputSpec([None, 4], "float32"), InputSpec([None, 2], "float32")]
    paddle.jit.save(small, str(tmp_path / "model"), specs[:tensors])
    loaded = paddle.jit.load(str(tmp_path / "model"))
    inputs = [paddle.to_tensor(value) for value in (X, SHIFT)][:tensors]
    expected = expected + SHIFT if tensors == 2 else expected
    np.testing.assert_allclose(loaded(*inputs).numpy(), expected, atol=1e-6)
    # The batch is any, and a copy has no part in the other.
    one = [value[:1] for value in inputs]
    np.testing.assert_allclose(loaded(*one).numpy(), expected[:1], atol=1e-6)
    np.testing.assert_allclose(small(*inputs).numpy(), expected, atol=1e-6)


def test_a_copy_has_its_own_weights():
    small, expected = exported(Between)
    other = copy.deepcopy(small)
    other.model.last.bias.set_value(other.model.last.bias + 1.0)
    np.testing.assert_allclose(other(paddle.to_tensor(X)).numpy(), expected + 1.0, atol=1e-6)
    np.testing.assert_allclose(small(paddle.to_tensor(X)).numpy(), expected, atol=1e-6)


class ByPlace(Chain):
    """Its input goes by its place only."""

    def forward(self, x, /, depth=None):
        return super().forward(x, depth)


def test_an_input_that_goes_by_its_place_only():
    small, expected = exported(ByPlace)
    np.testing.assert_allclose(small(paddle.to_tensor(X)).numpy(), expected, atol=1e-6)
    assert list(inspect.signature(small.forward).parameters) == ["x"]


def test_a_depth_that_goes_by_its_place_only_is_refused():
    class DepthByPlace(Chain):
        def forward(self, x, depth=None, /):
            return super().forward(x, depth)

    with pytest.raises(InputError, match="forward must take a depth argument"):
        exported(DepthByPlace)


def test_it_is_gone_when_nobody_holds_it():
    small, _ = exported(Between)
    held = weakref.ref(small)
    gc.collect()
    gc.disable()
    try:
        del small
        assert held() is None
    finally:
        gc.enable()


def test_it_is_pickled():
    small, expected = exported(Between)
    again = pickle.loads(pickle.dumps(small))
    assert inspect.signature(again.forward) == inspect.signature(small.forward)
    x, shift = paddle.to_tensor(X), paddle.to_tensor(SHIFT)
    np.testing.assert_allclose(again(x, shift).numpy(), expected + SHIFT, atol=1e-6)


def test_it_is_compiled():
    small, expected = exported(Between)
    assert not small.training
    compiled = paddle.jit.to_static(small, full_graph=True)
    np.testing.assert_allclose(compiled(paddle.to_tensor(X)).numpy(), expected, atol=1e-6)
