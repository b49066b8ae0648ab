"""A linear layer of which any prefix of inputs and outputs can be used."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn


class ElasticLinear(nn.Linear):
    """``y = x W[:in, :out] + b[:out]`` with ``out`` an argument and ``in`` the width of ``x``.

    At full size it is ``paddle.nn.Linear``, same parameters and names.
    """

    def forward(self, x: paddle.Tensor, out_features: int | None = None) -> paddle.Tensor:
        """Map ``[..., in]`` to ``[..., out]``.

        Args:
            x: its last axis may be any prefix of the layer's inputs.
            out_features: how many outputs to compute; default all of them.
        """
        in_features = x.shape[-1]
        out_features = out_features or self.weight.shape[1]
        weight, bias = self.weight, self.bias
        # A full slice would copy the weight, and its gradient, for nothing.
        if (in_features, out_features) != tuple(weight.shape):
            weight = weight[:in_features, :out_features]
        if out_features != bias.shape[0]:
            bias = bias[:out_features]
        return F.linear(x, weight, bias)
