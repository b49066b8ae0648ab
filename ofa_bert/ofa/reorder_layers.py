"""Sorting heads and neurons of any transformer, so that every prefix is the best of its size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ofa_bert.ofa.transformer import attentions, feed_forwards, inner
from ofa_bert.reordering import permute
from ofa_bert.rules import require


def reorder_head(layer: nn.Layer, index: Any) -> None:
    """Permute the heads of an attention layer in place; what it computes does not change.

    Args:
        layer: a ``paddle.nn.MultiHeadAttention``, converted or not.
        index: the old number of each head in its new place.

    Raises:
        InputError: if the layer is no attention or ``index`` no order of its heads.
    """
    require(
        isinstance(layer, nn.MultiHeadAttention),
        f"reorder_head takes a paddle.nn.MultiHeadAttention; got a {type(layer).__name__}",
    )
    order = _order(index, layer.num_heads, "heads")
    features = (order[:, None] * layer.head_dim + np.arange(layer.head_dim)).ravel()
    with paddle.no_grad():
        for projection in (layer.q_proj, layer.k_proj, layer.v_proj):
            _permute_linear(inner(projection), features, axis=1)
        _permute_linear(inner(layer.out_proj), features, axis=0)


def reorder_neuron(layer: nn.Layer, index: Any, dim: int = 0) -> None:
    """Permute the inputs or the outputs of a linear layer in place.

    Args:
        layer: a ``paddle.nn.Linear``, converted or not.
        index: the old number of each neuron in its new place.
        dim: 1 for outputs, with the bias; 0 for inputs.

    Raises:
        InputError: if ``index`` is no order of them.
    """
    linear = inner(layer)
    require(dim in (0, 1), f"dim must be 0 for inputs or 1 for outputs; got {dim}")
    order = _order(index, linear.weight.shape[dim], "neurons")
    with paddle.no_grad():
        _permute_linear(linear, order, axis=dim)


def reorder_neuron_head(
    model: nn.Layer, head_importance: Any, neuron_importance: Sequence[Any]
) -> None:
    """Sort the heads and neurons of every layer in place, most important first.

    Args:
        model: a transformer, converted or not; what it computes does not change.
        head_importance: ``[num_layers, num_heads]``.
        neuron_importance: ``[num_neurons]`` for each layer.

    Raises:
        InputError: if the network has not as many layers.
    """
    layers, pairs = attentions(model), feed_forwards(model)
    require(
        len(layers) == len(pairs) == len(head_importance) == len(neuron_importance),
        f"importance must be of the {len(layers)} attention and {len(pairs)} feed-forward layers; "
        f"got {len(head_importance)} and {len(neuron_importance)}",
    )
    heads = [_descending(scores) for scores in head_importance]
    neurons = [_descending(scores) for scores in neuron_importance]
    for layer, pair, head_order, order in zip(layers, pairs, heads, neurons, strict=True):
        # All are checked before any is moved.
        _order(head_order, layer.num_heads, "heads")
        _order(order, inner(pair.first).weight.shape[1], "neurons")
    for layer, pair, head_order, order in zip(layers, pairs, heads, neurons, strict=True):
        reorder_head(layer, head_order)
        reorder_neuron(pair.first, order, dim=1)
        reorder_neuron(pair.second, order, dim=0)


def _descending(scores: Any) -> np.ndarray:
    return np.argsort(-np.asarray(scores), kind="stable")


def _order(index: Any, count: int, what: str) -> np.ndarray:
    order = np.asarray(index)
    require(
        np.array_equal(np.sort(order), np.arange(count)),
        f"index must order all {count} {what}, each once; got {order.tolist()}",
    )
    return order


def _permute_linear(linear: nn.Layer, order: np.ndarray, axis: int) -> None:
    permute(linear.weight, order, axis=axis)
    if axis == 1 and linear.bias is not None:
        permute(linear.bias, order, axis=0)
