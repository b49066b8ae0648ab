"""A linear layer of which any prefix of inputs and outputs can be used."""

from __future__ import annotations

from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.autograd import PyLayer

from ofa_bert.nn.placement import column_sums, spread_row, trains_on_cpu
from ofa_bert.nn.prefix import prefix


def elastic_linear(
    x: paddle.Tensor,
    weight: paddle.Tensor,
    bias: paddle.Tensor | None,
    out_features: int | None = None,
) -> paddle.Tensor:
    """Compute ``y = x W[:in, :out] + b[:out]``, with ``in`` the width of ``x``.

    Args:
        x: ``[..., in]``, any prefix of the inputs.
        weight: ``[all inputs, all outputs]``.
        bias: ``[all outputs]`` or None.
        out_features: how many outputs to compute; default all of them.

    Returns:
        ``[..., out]``.
    """
    out_features = out_features or weight.shape[1]
    weight = prefix(weight, x.shape[-1], out_features)
    bias = prefix(bias, out_features)
    if bias is not None and trains_on_cpu(x):
        return _Linear.apply(x, weight, bias)
    return F.linear(x, weight, bias)


class ElasticLinear(nn.Linear):
    """``elastic_linear`` as a layer: at full size it is ``paddle.nn.Linear``, same parameters."""

    def forward(self, x: paddle.Tensor, out_features: int | None = None) -> paddle.Tensor:
        """Map ``[..., in]`` to ``[..., out]``; see ``elastic_linear``."""
        return elastic_linear(x, self.weight, self.bias, out_features)


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
        product = paddle.matmul(x, weight)
        return product.add_(spread_row(bias, product.shape))

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
