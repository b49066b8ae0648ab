"""The teacher: who answers each batch once, in eval mode, without gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import paddle
from paddle import nn

from ofa_bert.ofa.active import running
from ofa_bert.ofa.outputs import outputs_of


@dataclass(frozen=True)
class Answer:
    """What a network said to a batch."""

    output: Any
    """What its forward returned."""
    mapped: dict[str, paddle.Tensor]
    """Outputs of the mapped layers that ran, by name."""


class Teacher:
    """Asks a network; remembers its last answer, since a batch is asked once for each width.

    No ``nn.Layer`` itself, so that no mode and no optimiser reaches the network through its owner.
    """

    def __init__(self, model: nn.Layer, mapping_layers: Sequence[str]) -> None:
        self.model = model
        self._mapping_layers = tuple(mapping_layers)
        self._asked: list[Any] | None = None
        self._answer: Answer | None = None

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Answer:
        """Answer a batch, at full size."""
        asked = _leaves([list(args), dict(kwargs)])
        if self._answer is None or not _same(asked, self._asked):
            self.model.eval()
            with paddle.no_grad(), running(sizes={}, head_masks={}):
                mapped, output = outputs_of(self.model, self._mapping_layers, args, kwargs)
            self._asked, self._answer = asked, Answer(output, mapped)
        return self._answer


def _leaves(nested: Any) -> list[Any]:
    """Flatten lists and dicts; a tensor comes with how often it was written to."""
    if isinstance(nested, Mapping):
        return [leaf for key, value in nested.items() for leaf in (key, *_leaves(value))]
    if isinstance(nested, list | tuple):
        return [len(nested), *(leaf for value in nested for leaf in _leaves(value))]
    if isinstance(nested, paddle.Tensor):
        return [nested, nested.inplace_version]
    return [nested]


def _same(leaves: list[Any], others: list[Any] | None) -> bool:
    """Compare two batches: tensors by identity, which is cheap and sure."""
    if others is None or len(leaves) != len(others):
        return False
    return all(map(_same_leaf, leaves, others))


def _same_leaf(one: Any, other: Any) -> bool:
    if one is other:
        return True
    plain = not isinstance(one, paddle.Tensor) and type(one) is type(other)
    return plain and bool(one == other)
