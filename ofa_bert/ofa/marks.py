"""Which layer's forward does which operation of a program."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import paddle
from paddle import nn


class Mark(NamedTuple):
    """Where a layer's forward began or ended."""

    after: int | None
    """The operation before, by its id; None: the layer began before all of them."""
    layer: nn.Layer
    begins: bool


def mark_layers(model: nn.Layer) -> list[Mark]:
    """Wrap every layer's forward; the list that is given fills with marks while a program is made.

    Not by hooks: those of users would run between ours and the forward, as if they were its own,
    and ``layer.forward(x)`` runs none. Whoever calls this takes the attributes ``forward`` away.
    """
    marks: list[Mark] = []
    for layer in model.sublayers(include_self=True):
        vars(layer)["forward"] = _marking(layer, marks)
    return marks


def _marking(layer: nn.Layer, marks: list[Mark]) -> Callable[..., Any]:
    forward = layer.forward

    @functools.wraps(forward)
    def marking(*inputs: Any, **named: Any) -> Any:
        marks.append(Mark(_last_operation(), layer, begins=True))
        outputs = forward(*inputs, **named)
        marks.append(Mark(_last_operation(), layer, begins=False))
        return outputs

    return marking


def layers_of(operations: Iterable[int], marks: Iterable[Mark]) -> Iterator[nn.Layer | None]:
    """Give the innermost layer that ran at each operation, by their ids in the order they ran."""
    marks_after: dict[int | None, list[Mark]] = {}
    for mark in marks:
        marks_after.setdefault(mark.after, []).append(mark)
    running: list[nn.Layer] = []
    _follow(running, marks_after.get(None, ()))
    for operation in operations:
        yield running[-1] if running else None
        _follow(running, marks_after.get(operation, ()))


def _follow(running: list[nn.Layer], marks: Iterable[Mark]) -> None:
    for mark in marks:
        if mark.begins:
            running.append(mark.layer)
        else:
            # A layer that raised what its caller caught has no end of its own.
            while running and running.pop() is not mark.layer:
                pass


def _last_operation() -> int | None:
    block = paddle.static.default_main_program().global_block()
    return None if block.empty() else int(block.back().id())
