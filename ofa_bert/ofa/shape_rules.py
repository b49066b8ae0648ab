"""Rules for operations that only move numbers: reshape, concatenate, slice, repeat.

A cut keeps a prefix of an axis. Joining is therefore right only where the prefix of one axis is the
prefix of the other: a split or merged axis goes with its leading factor, and a concatenation cannot
follow its parts.
"""

from __future__ import annotations

import math
from typing import Any

from ofa_bert.ofa.axes import Axes, Axis, Shape, broadcast, fix, flat, new_axes, sizes
from ofa_bert.ofa.operands import Operands, unknown


def transpose(op: Operands) -> list[Any]:
    """Axes in another order."""
    return [[op.axes[0][axis] for axis in op.attributes["perm"]]]


def reshape(op: Operands) -> list[Any]:
    """Other axes over the same numbers; sizes written out as numbers cannot follow a cut.

    ``x.reshape([x.shape[0], -1])`` follows; ``x.reshape([2, 2048])`` does not.
    """
    target = op.constants[1]
    if target is None:
        return unknown(op)
    literal = {i for i, size in enumerate(target) if size not in (None, 0, -1)}
    return [_regroup(op.axes[0], op.shapes[0], literal)]


def reorganise(op: Operands) -> list[Any]:
    """Flatten, squeeze and unsqueeze: as ``reshape``, and the sizes follow."""
    return [
        _regroup(op.axes[0], op.shapes[0], set()),
        *new_axes(op.shapes[1:], fixed=True),
    ]


def _regroup(axes: Axes, shape: Shape, literal: set[int]) -> Axes:
    """Match runs of axes with runs of the new shape that hold equally many numbers."""
    if min(sizes(axes), default=1) < 1 or min(shape, default=1) < 1:
        fix(axes)
        return new_axes(shape, fixed=True)
    result = new_axes(shape)
    old = [axis for axis in axes if axis.size != 1]
    new = [i for i, size in enumerate(shape) if size != 1]
    while new:
        sources, targets = [old.pop(0)], [new.pop(0)]
        while (gap := math.prod(sizes(sources)) - math.prod(shape[i] for i in targets)) != 0:
            if gap < 0:
                sources.append(old.pop(0))
            else:
                targets.append(new.pop(0))
        _match(sources, targets, result, literal)
    return result


def _match(sources: Axes, targets: list[int], result: Axes, literal: set[int]) -> None:
    lead = sources[0]
    fix(sources[1:])
    fix(result[i] for i in targets[1:])
    result[targets[0]].join(lead)
    both = len(sources) > 1 and len(targets) > 1
    if both or (targets[0] in literal and not lead.by_heads):
        fix([lead])


def concatenate(op: Operands) -> list[Any]:
    """Fix the axis along which tensors are laid end to end.

    What reads the result has one weight for each place in it; a cut part would move the parts
    behind it, and their weights would be another's.
    """
    parts = op.axes[0]
    dims = op.integers(1, "axis")
    if dims is None:
        return unknown(op)
    dim = dims[0] % len(parts[0])
    fix(axes[dim] for axes in parts)
    result = broadcast([[*axes[:dim], Axis(1), *axes[dim + 1 :]] for axes in parts])
    result[dim] = Axis(op.shapes[0][dim], fixed=True)
    return [result]


def stack(op: Operands) -> list[Any]:
    """Lay tensors of one shape along a new axis."""
    result = broadcast(op.axes[0])
    dim = op.attributes["axis"] % len(op.shapes[0])
    return [[*result[:dim], Axis(len(op.axes[0]), fixed=True), *result[dim:]]]


def split(op: Operands) -> list[Any]:
    """Cut a tensor in pieces of given sizes."""
    x = op.axes[0]
    dims = op.integers(len(op.axes) - 1, "axis")
    if dims is None:
        return unknown(op)
    dim = dims[0] % len(x)
    fix([x[dim]])
    return [[[*x[:dim], Axis(shape[dim], fixed=True), *x[dim + 1 :]] for shape in op.shapes[0]]]


def unbind(op: Operands) -> list[Any]:
    """Give a tensor's slices along an axis."""
    x = op.axes[0]
    dim = op.attributes["axis"] % len(x)
    fix([x[dim]])
    return [[[*x[:dim], *x[dim + 1 :]] for _ in op.shapes[0]]]


def pick(op: Operands) -> list[Any]:
    """``x[:, 0]``, ``x[:, 2:5]``: the axes picked from cannot shrink."""
    x, picked = op.axes[0], set(op.attributes["axes"])
    fix(x[axis] for axis in picked)
    dropped = set(op.attributes.get("decrease_axis", ()))
    kept = [i for i in range(len(x)) if i not in dropped]
    if len(kept) != len(op.shapes[0]):
        return unknown(op)
    return [
        [
            Axis(size, fixed=True) if i in picked else x[i]
            for i, size in zip(kept, op.shapes[0], strict=True)
        ]
    ]


def put(op: Operands) -> list[Any]:
    """``x[:, 0] = value``."""
    x, *others = op.axes
    fix(x[axis] for axis in op.attributes["axes"])
    fix(flat(others))
    return [x]


def expand(op: Operands) -> list[Any]:
    """Repeat axes of size 1; the others must be given as -1 to follow a cut."""
    x, shape = op.axes[0], op.shapes[0]
    target = op.constants[1] if len(op.constants) > 1 else None
    result = new_axes(shape, fixed=True)
    for back in range(1, len(x) + 1):
        axis, size = x[-back], shape[-back]
        if axis.size == size:
            result[-back] = axis
            if target is None or target[-back] not in (None, -1):
                fix([axis])
    return [result]


def expand_as(op: Operands) -> list[Any]:
    """Repeat axes of size 1 as another tensor has them."""
    x, other = op.axes[:2]
    if other is None:
        return unknown(op)
    return [broadcast([x, other])]


def tile(op: Operands) -> list[Any]:
    """Repeat axes a number of times; those repeated once stay."""
    x, shape = op.axes[0], op.shapes[0]
    result = new_axes(shape, fixed=True)
    for back in range(1, len(x) + 1):
        if x[-back].size == shape[-back]:
            result[-back] = x[-back]
        else:
            fix([x[-back]])
    return [result]


def gather(op: Operands) -> list[Any]:
    """Rows of an axis at given places: the axis cannot shrink."""
    x, index = op.axes[:2]
    dims = op.integers(2, "axis")
    if dims is None or len(op.shapes[0]) != len(x) + len(index) - 1:
        return unknown(op)
    dim = dims[0] % len(x)
    fix([x[dim]])
    return [[*x[:dim], *new_axes(sizes(index), fixed=True), *x[dim + 1 :]]]
