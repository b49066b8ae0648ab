"""Elastic linear layers and embeddings are what NumPy cuts out of the same weights."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import layers as L
from tests.ofa.values import close, draw, randomised, run


@pytest.mark.parametrize("bias", [None, False])
@pytest.mark.parametrize(
    ("inputs", "sizes", "outputs"),
    [
        (6, {}, 8),
        (6, {"expand_ratio": 0.5}, 4),
        (4, {"channel": 3}, 3),
        (2, {"expand_ratio": 0.3}, 2),  # 2.4 of 8
        (3, {"expand_ratio": 0.01}, 1),  # never none
    ],
)
def test_linear(bias, inputs, sizes, outputs):
    layer = randomised(L.SuperLinear(6, 8, bias_attr=bias))
    x = draw(3, 5, inputs)
    expected = x @ layer.weight.numpy()[:inputs, :outputs]
    expected = expected if bias is False else expected + layer.bias.numpy()[:outputs]
    close(run(layer, x, **sizes), expected)


def test_a_ratio_is_of_the_original_layer_where_the_supernet_is_wider():
    layer = randomised(L.SuperLinear(6, 16, {"expand_ratio": (1, 2, 4)}))
    x = draw(3, 6)
    for ratio, outputs in ((1, 4), (2, 8), (4, 16)):
        weight, bias = layer.weight.numpy()[:, :outputs], layer.bias.numpy()[:outputs]
        close(run(layer, x, expand_ratio=ratio), x @ weight + bias)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"expand_ratio": 0.5, "channel": 4}, "give expand_ratio or channel, not both"),
        ({"expand_ratio": 1.5}, "expand_ratio must be above 0 and at most 1; got 1.5"),
        ({"expand_ratio": 0.0}, "expand_ratio must be above 0 and at most 1; got 0"),
        ({"channel": 9}, "channel must be a multiple of 1 up to 8; got 9"),
    ],
)
def test_a_width_the_layer_has_not(sizes, message):
    with pytest.raises(InputError, match=message):
        run(L.SuperLinear(6, 8), draw(3, 6), **sizes)


def test_gradients_of_what_is_left_out_are_zero():
    layer = randomised(L.SuperLinear(6, 8))
    x = draw(3, 4)
    run(layer, x, channel=5).sum().backward()
    expected = np.zeros((6, 8))
    expected[:4, :5] = x.sum(0)[:, None]
    close(layer.weight.grad, expected)
    close(layer.bias.grad, [3] * 5 + [0] * 3)


@pytest.mark.parametrize(("sizes", "width"), [({}, 8), ({"expand_ratio": 0.25}, 2)])
def test_embedding(sizes, width):
    layer = L.SuperEmbedding(7, 8, padding_idx=2)
    table = draw(7, 8)
    layer.weight.set_value(table)
    ids = np.array([[0, 2, 6]])
    expected = table[ids][..., :width].copy()
    expected[0, 1] = 0.0
    close(run(layer, ids, **sizes), expected)


def test_two_layers_do_not_share_their_choices():
    one, other = L.SuperLinear(2, 2), L.SuperLinear(2, 2)
    one.candidate_config["channel"] = [1]
    assert other.candidate_config == {}
    given = {"channel": (2, 1, 2)}
    assert L.SuperLinear(2, 2, given).candidate_config == {"channel": [1, 2]}
    assert given == {"channel": (2, 1, 2)}
