"""Larger parameters that hold a layer's own ones, for supernets wider than their network.

What was there stands first (a kernel: in the centre) and does not see what is new, so that the
original network is a sub-network, and what it computed is still computed beside the new channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import paddle
from paddle import nn

from ofa_bert.ofa.kernels import wider_padding
from ofa_bert.ofa.plan import Step
from ofa_bert.ofa.super_conv import is_depthwise, padding_of


def parameter_like(
    layer: nn.Layer, source: paddle.Tensor, values: np.ndarray | paddle.Tensor
) -> paddle.Tensor:
    """Create a parameter of ``layer`` with other values and ``source``'s training settings."""
    attr = paddle.ParamAttr(
        initializer=nn.initializer.Constant(0.0),  # by far the quickest
        learning_rate=source.optimize_attr["learning_rate"],
        regularizer=source.regularizer,
        trainable=not source.stop_gradient,
        need_clip=source.need_clip,
    )
    parameter = layer.create_parameter(list(values.shape), attr=attr, dtype=source.dtype)
    parameter.set_value(values)
    return parameter


def widened_weight(
    layer: nn.Layer, weight: paddle.Tensor, shape: Sequence[int], out_axis: int
) -> paddle.Tensor:
    """Enlarge a matrix or kernels: new outputs are drawn afresh, old ones ignore new inputs.

    Args:
        layer: owner of the new parameter.
        weight: ``[inputs, outputs, ...]`` or ``[outputs, inputs, ...]``, kernels after that.
        shape: of the new parameter; no axis is smaller.
        out_axis: 0 or 1, the axis of outputs.
    """
    if shape[out_axis] == weight.shape[out_axis]:
        values = np.zeros(shape, weight.numpy().dtype)
    else:
        values = layer.create_parameter(list(shape), dtype=weight.dtype).numpy()
    old_outputs = [slice(None)] * len(shape)
    old_outputs[out_axis] = slice(weight.shape[out_axis])
    values[tuple(old_outputs)] = 0.0
    corner = [slice(size) for size in weight.shape[:2]]
    for size, whole in zip(weight.shape[2:], shape[2:], strict=True):
        start = (whole - size) // 2
        corner.append(slice(start, start + size))
    values[tuple(corner)] = weight.numpy()
    return parameter_like(layer, weight, values)


def widened_vector(layer: nn.Layer, vector: paddle.Tensor, size: int, fill: float) -> paddle.Tensor:
    """Lengthen a bias or a norm's parameter with ``fill``."""
    values = np.full(size, fill, dtype=vector.numpy().dtype)
    values[: vector.shape[0]] = vector.numpy()
    return parameter_like(layer, vector, values)


def widen(layer: nn.Layer, step: Step, grown: dict[int, paddle.Tensor]) -> None:
    """Give an elastic layer the size that its step asks for.

    Args:
        layer: has the original's parameters, and its size.
        step: how much wider it gets, and its kernel sizes.
        grown: new parameters by the id of the one that each replaces; those of tied layers are
            found in it, so that they stay one.
    """
    inputs, outputs = step.in_scale, step.out_scale
    if isinstance(layer, nn.Conv2D | nn.Conv2DTranspose):
        _widen_conv(layer, step, grown)
    elif isinstance(layer, nn.Linear):
        before, after = layer.weight.shape
        shape = [round(before * inputs), round(after * outputs)]
        _replace_weight(layer, shape, 1, grown)
        _replace_vector(layer, "bias", shape[1], 0.0, grown)
    elif isinstance(layer, nn.Embedding):
        rows, width = layer.weight.shape
        _replace_weight(layer, [rows, round(width * outputs)], 1, grown)
        layer._embedding_dim = round(width * outputs)
        layer._size = [rows, layer._embedding_dim]
    else:
        _widen_norm(layer, outputs, grown)


def _widen_conv(layer: nn.Layer, step: Step, grown: dict[int, paddle.Tensor]) -> None:
    kernel, old = list(layer._kernel_size), layer._kernel_size[0]
    if sizes := step.candidates.get("kernel_size"):
        kernel = [max(sizes)] * 2
    if is_depthwise(layer):
        layer._groups = round(layer._groups * step.in_scale)
    layer._in_channels = round(layer._in_channels * step.in_scale)
    layer._out_channels = round(layer._out_channels * step.out_scale)
    layer._kernel_size = kernel
    ring = (kernel[0] - old) // 2
    layer._padding = wider_padding(padding_of(layer), ring, layer._dilation)
    if isinstance(layer._padding, list):
        layer._updated_padding = layer._padding
    if layer._padding_mode != "zeros":
        layer._reversed_padding_repeated_twice = [layer._padding] * 4
    inputs, outputs = layer._in_channels, layer._out_channels
    transposed = isinstance(layer, nn.Conv2DTranspose)
    shape = [inputs, outputs // layer._groups] if transposed else [outputs, inputs // layer._groups]
    _replace_weight(layer, [*shape, *kernel], 1 if transposed else 0, grown)
    _replace_vector(layer, "bias", outputs, 0.0, grown)


def _widen_norm(layer: nn.Layer, scale: Fraction, grown: dict[int, paddle.Tensor]) -> None:
    if scale == 1:
        return
    for name, fill in (
        ("weight", 1.0),
        ("scale", 1.0),
        ("bias", 0.0),
        ("_mean", 0.0),
        ("_variance", 1.0),
    ):
        if (vector := getattr(layer, name, None)) is not None:
            _replace_vector(layer, name, round(vector.shape[0] * scale), fill, grown)
    if hasattr(layer, "_num_features"):
        layer._num_features = round(layer._num_features * scale)
    if hasattr(layer, "_normalized_shape"):
        layer._normalized_shape = [round(layer._normalized_shape[0] * scale)]


def _replace_weight(
    layer: nn.Layer, shape: list[int], out_axis: int, grown: dict[int, paddle.Tensor]
) -> None:
    weight = layer.weight
    if list(weight.shape) != shape:
        if id(weight) not in grown:
            grown[id(weight)] = widened_weight(layer, weight, shape, out_axis)
        layer._parameters["weight"] = grown[id(weight)]


def _replace_vector(
    layer: nn.Layer, name: str, size: int, fill: float, grown: dict[int, paddle.Tensor]
) -> None:
    vector = getattr(layer, name)
    if vector is not None and vector.shape[0] != size:
        if id(vector) not in grown:
            grown[id(vector)] = widened_vector(layer, vector, size, fill)
        layer._parameters[name] = grown[id(vector)]
