"""An elastic separable convolution: depthwise, a norm, then all channels at each point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import paddle
from paddle import nn

from ofa_bert.ofa.super_conv import SuperConv2D, SuperDepthwiseConv2D
from ofa_bert.ofa.super_norm import (
    SuperBatchNorm2D,
    SuperInstanceNorm2D,
    SuperSyncBatchNorm,
)
from ofa_bert.ofa.widths import sorted_candidates

ELASTIC_NORMS: dict[Any, Any] = {
    nn.InstanceNorm2D: SuperInstanceNorm2D,
    nn.BatchNorm2D: SuperBatchNorm2D,
    nn.SyncBatchNorm: SuperSyncBatchNorm,
}


class SuperSeparableConv2D(nn.Layer):
    """A depthwise convolution, a norm and a pointwise convolution with a choice of outputs.

    Args:
        in_channels: largest number of inputs.
        out_channels: largest number of outputs, those of the pointwise convolution.
        kernel_size: of the depthwise convolution.
        candidate_config: choices of ``expand_ratio`` or ``channel``.
        stride: of the depthwise convolution.
        padding: likewise.
        dilation: likewise.
        norm_layer: class of the norm; those of ``ELASTIC_NORMS`` take any prefix, others only all.
        bias_attr: of both convolutions.
        scale_factor: depthwise outputs for each input.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        candidate_config: Mapping[str, Any] | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        norm_layer: type[nn.Layer] = nn.InstanceNorm2D,
        bias_attr: Any = None,
        scale_factor: int = 1,
    ) -> None:
        super().__init__()
        self.candidate_config = sorted_candidates(candidate_config)
        middle = in_channels * scale_factor
        self.conv = nn.LayerList(
            [
                SuperDepthwiseConv2D(
                    in_channels,
                    middle,
                    kernel_size,
                    stride=stride,
                    padding=padding,
                    dilation=dilation,
                    groups=in_channels,
                    bias_attr=bias_attr,
                ),
                ELASTIC_NORMS.get(norm_layer, norm_layer)(middle),
                SuperConv2D(middle, out_channels, 1, self.candidate_config, bias_attr=bias_attr),
            ]
        )

    def forward(
        self,
        x: paddle.Tensor,
        expand_ratio: float | None = None,
        channel: int | None = None,
    ) -> paddle.Tensor:
        """Convolve ``[batch, in, height, width]``; ``in`` may be any prefix of the inputs."""
        alone = self.conv[1](self.conv[0](x))
        return self.conv[2](alone, expand_ratio=expand_ratio, channel=channel)


class SeparableConv2D(nn.Layer):
    """What a ``SuperSeparableConv2D`` is in a plain network: three layers in a row."""

    def __init__(self, layers: list[nn.Layer]) -> None:
        super().__init__()
        self.conv = nn.LayerList(layers)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Convolve ``[batch, channels, height, width]``."""
        for layer in self.conv:
            x = layer(x)
        return x
