"""Sorting heads and neurons so that every prefix is the best of its size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import paddle

from ofa_bert.errors import InputError
from ofa_bert.importance import Importance
from ofa_bert.nn.attention import SelfAttention
from ofa_bert.nn.bert import BertForSequenceClassification
from ofa_bert.nn.encoder import EncoderLayer


@dataclass(frozen=True)
class Permutation:
    """New order of heads and neurons: entry ``i`` is the old index of the one now at ``i``."""

    heads: tuple[np.ndarray, ...]
    """``[num_heads]`` for each layer."""
    neurons: tuple[np.ndarray, ...]
    """``[num_neurons]`` for each layer."""


def importance_order(importance: Importance) -> Permutation:
    """Order the heads and the neurons of each layer, most important first, ties as they stood."""

    def descending(scores: np.ndarray) -> np.ndarray:
        return np.argsort(-scores, kind="stable")

    return Permutation(
        heads=tuple(descending(scores) for scores in importance.heads),
        neurons=tuple(descending(scores) for scores in importance.neurons),
    )


def reorder(model: BertForSequenceClassification, permutation: Permutation) -> None:
    """Permute heads and neurons in place. What the model computes does not change.

    A permutation of heads moves columns of the query, key and value projections with their
    biases, and rows of the output projection; one of neurons moves columns of the first FFN
    matrix with its bias, and rows of the second (DynaBERT, arXiv:2004.04037 §2.1).

    Raises:
        InputError: if ``permutation`` is not one of this model's heads and neurons.
    """
    config = model.config
    _check("heads", permutation.heads, config.num_attention_heads)
    _check("neurons", permutation.neurons, config.intermediate_size)
    with paddle.no_grad():
        for i, layer in enumerate(model.bert.encoder.layers):
            _reorder_heads(layer.self_attn, permutation.heads[i])
            _reorder_neurons(layer, permutation.neurons[i])


def _reorder_heads(attention: SelfAttention, order: np.ndarray) -> None:
    offsets = np.arange(attention.head_dim)
    features = (order[:, None] * attention.head_dim + offsets).ravel()
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        permute(projection.weight, features, axis=1)
        permute(projection.bias, features, axis=0)
    permute(attention.out_proj.weight, features, axis=0)


def _reorder_neurons(layer: EncoderLayer, order: np.ndarray) -> None:
    permute(layer.linear1.weight, order, axis=1)
    permute(layer.linear1.bias, order, axis=0)
    permute(layer.linear2.weight, order, axis=0)


def permute(parameter: paddle.Tensor, order: np.ndarray, axis: int) -> None:
    """Put entry ``order[i]`` of an axis at ``i``, in place."""
    parameter.set_value(np.take(parameter.numpy(), order, axis=axis))


def _check(name: str, orders: tuple[np.ndarray, ...], sizes: tuple[int, ...]) -> None:
    fits = len(orders) == len(sizes) and all(
        np.array_equal(np.sort(order), np.arange(size))
        for order, size in zip(orders, sizes, strict=True)
    )
    if not fits:
        raise InputError(
            f"permutation of {name} must order {list(sizes)} of them, layer by layer; "
            f"got {[len(order) for order in orders]} or repeats"
        )
