"""Elastic two-dimensional convolutions: plain, grouped, depthwise, and their transposes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from ofa_bert.nn.prefix import prefix
from ofa_bert.ofa.kernels import centred, check_odd, matrix_name, sub_kernel
from ofa_bert.ofa.widths import Candidates, out_count, sorted_candidates
from ofa_bert.rules import require


@dataclass(frozen=True)
class ConvPart:
    """What a convolution uses at one size."""

    weight: paddle.Tensor
    """In the layer's own layout."""
    bias: paddle.Tensor | None
    """``[outputs]``."""
    groups: int
    """Groups of the cut convolution."""
    padding: Any
    """Padding that puts the kernel's centre where the full kernel's was."""


def is_depthwise(layer: nn.Layer) -> bool:
    """Tell a convolution with one group for each input channel, whose width is its input's."""
    return layer._groups > 1 and layer._groups == layer._in_channels


def padding_of(layer: nn.Layer) -> Any:
    """Give a convolution's padding as a word, a number, or two or four of them.

    Of pairs for each axis, paddle's constructor keeps the numbers of the spatial ones.
    """
    of_pairs = isinstance(layer._padding, list | tuple)
    return list(layer._updated_padding) if of_pairs else layer._padding


def init_elastic(layer: nn.Layer, candidates: Candidates, transform_kernel: bool) -> None:
    """Give a convolution its choices, and the matrices between its kernel sizes.

    The matrices start as the identity: the centre as it is.

    Raises:
        InputError: if a kernel size is even, or larger than the layer's kernel, or that is oblong.
    """
    sizes = candidates.get("kernel_size", [])
    check_odd(sizes)
    require(
        not sizes or layer._kernel_size[0] == layer._kernel_size[1],
        f"only square kernels have a choice of kernel_size; got one of {layer._kernel_size}",
    )
    require(
        all(size <= layer._kernel_size[0] for size in sizes),
        f"kernel_size must be at most the layer's own {layer._kernel_size[0]}; got {sizes}; "
        f"build the layer with kernel_size={max(sizes, default=0)}",
    )
    layer.candidate_config = candidates
    layer.transform_kernel = transform_kernel and bool(sizes)
    if layer.transform_kernel:
        for smaller, larger in pairwise(kernel_chain(layer)):
            eye = nn.initializer.Assign(paddle.eye(smaller**2).numpy())
            matrix = layer.create_parameter([smaller**2] * 2, default_initializer=eye)
            layer.add_parameter(matrix_name(larger, smaller), matrix)


def kernel_chain(layer: nn.Layer) -> list[int]:
    """Give the kernel sizes that matrices lead down, ascending, the layer's own among them."""
    return sorted({*layer.candidate_config.get("kernel_size", ()), layer._kernel_size[0]})


def conv_part(
    layer: nn.Layer,
    in_channels: int,
    kernel_size: int | None,
    expand_ratio: float | None,
    channel: int | None,
    *,
    transposed: bool,
) -> ConvPart:
    """Cut a convolution.

    Grouped convolutions keep their number of groups; depthwise ones keep a group for each input
    channel, and have as many outputs as follow from that.

    Raises:
        InputError: if the input does not fill the groups, or a size is not one of the layer's.
    """
    groups, candidates = layer._groups, layer.candidate_config
    if is_depthwise(layer):
        per_group = layer._out_channels // groups
        groups, outputs = in_channels, in_channels * per_group
    else:
        require(
            in_channels % groups == 0,
            f"{in_channels} channels do not fill the {groups} groups of {layer.full_name()}; "
            f"give the layer before it a width that is a multiple of {groups}",
        )
        outputs = out_count(layer._out_channels, candidates, expand_ratio, channel, groups)
    first, second = (
        (in_channels, outputs // groups) if transposed else (outputs, in_channels // groups)
    )
    weight = prefix(layer.weight, first, second)
    if kernel_size is not None:
        check_odd([kernel_size])
    # A mode other than zeros pads the input beforehand: nothing is left to take away.
    padding = padding_of(layer) if layer._padding_mode == "zeros" else 0
    height, width = layer._kernel_size
    if kernel_size is not None and [kernel_size] * 2 != [height, width]:
        require(
            height == width,
            f"the kernel of {layer.full_name()} is {height} by {width}, and only square ones have "
            f"a choice; got kernel_size {kernel_size}; leave it out",
        )
        matrix = layer.__getattr__ if layer.transform_kernel else None
        weight = sub_kernel(weight, kernel_size, kernel_chain(layer), matrix)
        weight, padding = centred(weight, height, padding, layer._dilation)
    return ConvPart(weight, prefix(layer.bias, outputs), groups, padding)


class SuperConv2D(nn.Conv2D):
    """``paddle.nn.Conv2D`` with a choice of outputs and of kernel size.

    With ``groups`` it is a ``SuperGroupConv2D`` or a ``SuperDepthwiseConv2D``. A smaller kernel
    gives what the full one would with zeros around it: the same output size.

    Args:
        in_channels: largest number of inputs.
        out_channels: largest number of outputs.
        kernel_size: largest kernel; square and odd if it is to be elastic.
        candidate_config: choices of ``kernel_size`` and of ``expand_ratio`` or ``channel``.
        transform_kernel: learn a matrix from each kernel size to the next smaller.
        stride: as in ``paddle.nn.Conv2D``, and so the others.
        padding: of the largest kernel.
        dilation: as there.
        groups: as there.
        padding_mode: as there.
        weight_attr: as there.
        bias_attr: as there.
        data_format: as there.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        candidate_config: Mapping[str, Any] | None = None,
        transform_kernel: bool = False,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        weight_attr: Any = None,
        bias_attr: Any = None,
        data_format: str = "NCHW",
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
            weight_attr=weight_attr,
            bias_attr=bias_attr,
            data_format=data_format,
        )
        init_elastic(self, sorted_candidates(candidate_config), transform_kernel)

    def forward(
        self,
        x: paddle.Tensor,
        kernel_size: int | None = None,
        expand_ratio: float | None = None,
        channel: int | None = None,
    ) -> paddle.Tensor:
        """Convolve ``[batch, in, height, width]``; ``in`` may be any prefix of the inputs."""
        part = conv_part(
            self,
            x.shape[self._channel_dim],
            kernel_size,
            expand_ratio,
            channel,
            transposed=False,
        )
        if self._padding_mode != "zeros":
            around = self._reversed_padding_repeated_twice
            x = F.pad(x, around, mode=self._padding_mode, data_format=self._data_format)
        return F.conv2d(
            x,
            part.weight,
            part.bias,
            stride=self._stride,
            padding=part.padding,
            dilation=self._dilation,
            groups=part.groups,
            data_format=self._data_format,
        )


class SuperGroupConv2D(SuperConv2D):
    """A ``SuperConv2D`` of several groups: widths are multiples of their number."""


class SuperDepthwiseConv2D(SuperConv2D):
    """A ``SuperConv2D`` with a group for each input: its width is its input's."""


class SuperConv2DTranspose(nn.Conv2DTranspose):
    """``paddle.nn.Conv2DTranspose`` with a choice of outputs and of kernel size.

    Args:
        in_channels: see ``SuperConv2D``, and so the others.
        out_channels: see there.
        kernel_size: see there.
        candidate_config: see there.
        transform_kernel: see there.
        stride: see there.
        padding: see there.
        output_padding: as in ``paddle.nn.Conv2DTranspose``.
        dilation: see there.
        groups: see there.
        weight_attr: see there.
        bias_attr: see there.
        data_format: see there.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        candidate_config: Mapping[str, Any] | None = None,
        transform_kernel: bool = False,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        weight_attr: Any = None,
        bias_attr: Any = None,
        data_format: str = "NCHW",
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
            groups=groups,
            weight_attr=weight_attr,
            bias_attr=bias_attr,
            data_format=data_format,
        )
        init_elastic(self, sorted_candidates(candidate_config), transform_kernel)

    def forward(
        self,
        x: paddle.Tensor,
        output_size: Any = None,
        kernel_size: int | None = None,
        expand_ratio: float | None = None,
        channel: int | None = None,
    ) -> paddle.Tensor:
        """Convolve ``[batch, in, height, width]``; ``in`` may be any prefix of the inputs."""
        part = conv_part(
            self, x.shape[self._channel_dim], kernel_size, expand_ratio, channel, transposed=True
        )
        return F.conv2d_transpose(
            x,
            part.weight,
            part.bias,
            stride=self._stride,
            padding=part.padding,
            output_padding=self.output_padding if output_size is None else 0,
            dilation=self._dilation,
            groups=part.groups,
            output_size=output_size,
            data_format=self._data_format,
        )


class SuperGroupConv2DTranspose(SuperConv2DTranspose):
    """A ``SuperConv2DTranspose`` of several groups: widths are multiples of their number."""


class SuperDepthwiseConv2DTranspose(SuperConv2DTranspose):
    """A ``SuperConv2DTranspose`` with a group for each input: its width is its input's."""
