"""Axes of tensors, joined where they shrink together.

Joined axes keep their sizes in proportion when a network is cut. An axis that cannot shrink is
fixed, and all that is joined to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Shape = tuple[int, ...]


class Axis:
    """One axis of a tensor, in a group of axes joined to it (a disjoint-set forest)."""

    __slots__ = ("_by_heads", "_fixed", "_parent", "size")

    def __init__(self, size: int, *, fixed: bool = False, by_heads: bool = False) -> None:
        self.size = size
        self._parent: Axis | None = None
        self._fixed = fixed
        self._by_heads = by_heads

    @property
    def root(self) -> Axis:
        """The axis that stands for the group."""
        axis = self
        while axis._parent is not None:
            axis = axis._parent
        return axis

    @property
    def fixed(self) -> bool:
        """Whether the group keeps its full size."""
        return self.root._fixed

    @property
    def by_heads(self) -> bool:
        """Whether a layer that knows its number of heads reshapes this group."""
        return self.root._by_heads

    def join(self, other: Axis) -> None:
        """Make two groups one."""
        one, two = self.root, other.root
        if one is not two:
            two._parent = one
            one._fixed |= two._fixed
            one._by_heads |= two._by_heads


Axes = list[Axis]


def fix(axes: Iterable[Axis]) -> None:
    """Keep these axes, and all that are joined to them, at full size."""
    for axis in axes:
        axis.root._fixed = True


def flat(axes: Any) -> Axes:
    """Give all axes of an operand or a result: of one tensor, of a list of them, of none."""
    if axes is None:
        return []
    if isinstance(axes, Axis):
        return [axes]
    return [axis for part in axes for axis in flat(part)]


def new_axes(shape: Any, *, fixed: bool = False) -> Any:
    """Make axes of a shape, or of a list of shapes, that are joined to nothing."""
    if isinstance(shape, list):
        return [new_axes(part, fixed=fixed) for part in shape]
    return [Axis(size, fixed=fixed) for size in shape]


def sizes(axes: Axes) -> Shape:
    """Give the shape that axes make."""
    return tuple(axis.size for axis in axes)


def broadcast(operands: Sequence[Axes]) -> Axes:
    """Line axes up from the last; join those that meet, where an axis of size 1 meets none."""
    rank = max(len(axes) for axes in operands)
    result = []
    for position in range(-rank, 0):
        here = [axes[position] for axes in operands if len(axes) >= -position]
        wide = [axis for axis in here if axis.size != 1] or here
        for axis in wide[1:]:
            wide[0].join(axis)
        result.append(wide[0])
    return result
