"""A linear layer of which any prefix of inputs and outputs can be used."""

from __future__ import annotations

from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.autograd import PyLayer

from ofa_bert.nn.placement import column_sums, trains_on_cpu


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
        if trains_on_cpu(x):
            return _Linear.apply(x, weight, bias)
        return F.linear(x, weight, bias)


class _Linear(PyLayer):
    """``F.linear`` whose backward is three products.

    Paddle sums the bias gradient with one thread, which takes longer than the product.
    """

    @staticmethod
    def forward(
        ctx: Any, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor
    ) -> paddle.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.needed = [not tensor.stop_gradient for tensor in (x, weight, bias)]
        return paddle.matmul(x, weight).add_(bias)

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        rows, grad_rows = x.reshape([-1, x.shape[-1]]), grad.reshape([-1, grad.shape[-1]])
        needs_x, needs_weight, needs_bias = ctx.needed
        return (
            paddle.matmul(grad, weight, transpose_y=True) if needs_x else None,
            paddle.matmul(rows, grad_rows, transpose_x=True) if needs_weight else None,
            column_sums(grad_rows) if needs_bias else None,
        )
