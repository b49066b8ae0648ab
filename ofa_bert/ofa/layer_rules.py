"""Rules for operations that compute: products, convolutions, norms, whatever goes by element.

Each rule joins the axes that shrink together and gives the axes of the results.
"""

from __future__ import annotations

from typing import Any

from ofa_bert.ofa.axes import Axes, Axis, broadcast, fix, new_axes, sizes
from ofa_bert.ofa.operands import Operands, unknown


def pointwise(op: Operands) -> list[Any]:
    """``y[i] = f(x[i])``, and what runs along an axis from its start: softmax, cumulative sums."""
    (x, *_) = op.axes
    return [x if sizes(x) == shape else new_axes(shape, fixed=True) for shape in op.shapes]


def elementwise(op: Operands) -> list[Any]:
    """``f(x, y, ...)`` with broadcasting: axes of one size are the same."""
    operands = [part for x in op.axes for part in (x if x and isinstance(x[0], list) else [x])]
    return [broadcast([x for x in operands if x is not None])]


def matmul(op: Operands) -> list[Any]:
    """``[..., m, k] x [..., k, n] -> [..., m, n]``; a vector has no rows, or no columns."""
    x, y = (
        [*axes[:-2], axes[-1], axes[-2]] if op.attributes.get(flag) and len(axes) > 1 else axes
        for axes, flag in zip(op.axes[:2], ("transpose_x", "transpose_y"), strict=True)
    )
    x[-1].join(y[-2] if len(y) > 1 else y[0])
    batch = broadcast([x[:-2], y[:-2]]) if len(x) > 2 or len(y) > 2 else []
    return [[*batch, *x[-2:-1], *(y[-1:] if len(y) > 1 else [])]]


def convolution(op: Operands) -> list[Any]:
    """``[batch, in, ...] -> [batch, out, ...]``, any number of groups, transposed or not.

    With groups, inputs and outputs stay in proportion: a depthwise convolution gives as many
    channels as it gets.
    """
    return [_convolved(op, inputs=1, outputs=0)]


def transposed_convolution(op: Operands) -> list[Any]:
    """As ``convolution``; the weight is ``[in, out / groups, ...]``."""
    return [_convolved(op, inputs=0, outputs=1)]


def _convolved(op: Operands, inputs: int, outputs: int) -> Axes:
    x, weight = op.axes[:2]
    channel = _channel_axis(op)
    result = new_axes(op.shapes[0])
    result[0] = x[0]
    if op.attributes["groups"] == 1:
        x[channel].join(weight[inputs])
        result[channel] = weight[outputs]
    else:
        fix(weight[1:])
        x[channel].join(weight[0])
        result[channel].join(weight[0])
    return result


def _channel_axis(op: Operands) -> int:
    layout = op.attributes.get("data_format") or op.attributes.get("data_layout") or "NCHW"
    return len(op.axes[0]) - 1 if layout.endswith("C") else 1


def over_channels(op: Operands) -> list[Any]:
    """Batch and instance norm, PReLU: parameters, if any, of one number for each channel."""
    x, *parameters = op.axes
    channel = x[min(_channel_axis(op), len(x) - 1)]
    for (axis,) in (axes for axes in parameters if axes):
        if axis.size != 1:
            channel.join(axis)
    return [x, *new_axes(op.shapes[1:], fixed=True)]


def grouped_norm(op: Operands) -> list[Any]:
    """Group norm: its groups divide the full number of channels."""
    fix([op.axes[0][_channel_axis(op)]])
    return over_channels(op)


def layer_norm(op: Operands) -> list[Any]:
    """Over the last axis it follows; over several, its parameters hold them in one."""
    x, *parameters = op.axes
    normed = x[op.attributes["begin_norm_axis"] :]
    for (axis,) in (axes for axes in parameters if axes):
        normed[-1].join(axis)
    if len(normed) > 1:
        fix(normed)
    return [x, *new_axes(op.shapes[1:], fixed=True)]


def over_space(op: Operands) -> list[Any]:
    """Pooling, interpolation, padding of images: batch and channels stay."""
    x, channel = op.axes[0], _channel_axis(op)
    results = []
    for shape in op.shapes:
        result = new_axes(shape)
        result[0], result[channel] = x[0], x[channel]
        results.append(result)
    return results


def reduction(op: Operands) -> list[Any]:
    """Mean, sum, argmax and the like over some axes, all of them if none is named."""
    x, rank = op.axes[0], len(op.axes[0])
    dims = op.integers(1, "axis")
    if dims is None:
        return unknown(op)
    dropped = {dim % rank for dim in dims} if dims else set(range(rank))
    if op.attributes.get("keepdim") or op.attributes.get("keepdims"):
        return [[Axis(1) if i in dropped else axis for i, axis in enumerate(x)]]
    return [[axis for i, axis in enumerate(x) if i not in dropped]]


def embedding(op: Operands) -> list[Any]:
    """``[...]`` ids and ``[rows, width]`` give ``[..., width]``."""
    ids, weight = op.axes[:2]
    return [[*ids, weight[1]]]
