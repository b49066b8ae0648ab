"""LayerNorm with a faster backward on the CPU, and a right one."""

from __future__ import annotations

from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.autograd import PyLayer

from ofa_bert.nn.placement import column_sums, spread_column, trains_on_cpu
from ofa_bert.nn.prefix import prefix


def elastic_layer_norm(
    x: paddle.Tensor, weight: paddle.Tensor | None, bias: paddle.Tensor | None, epsilon: float
) -> paddle.Tensor:
    """Normalise ``[..., size]`` over its last axis, with the first ``size`` weights and biases.

    Paddle 3.3.1's CPU kernel gives a wrong gradient of the input when the weight's gradient is
    not asked for. Ours is right where weights are frozen; ``paddle.grad`` past trainable ones
    that it is not asked for raises paddle's ValueError.
    """
    size = x.shape[-1]
    weight, bias = prefix(weight, size), prefix(bias, size)
    if weight is not None and bias is not None and trains_on_cpu(x):
        return _LayerNorm.apply(x, weight, bias, epsilon)
    return F.layer_norm(x, [size], weight, bias, epsilon)


class LayerNorm(nn.LayerNorm):
    """``elastic_layer_norm`` as a layer: ``paddle.nn.LayerNorm`` over the last axis."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Normalise ``[..., hidden_size]``."""
        return elastic_layer_norm(x, self.weight, self.bias, self._epsilon)


class _LayerNorm(PyLayer):
    """``y = (x - mean) / sqrt(var + eps) * w + b`` (arXiv:1607.06450 §3)."""

    @staticmethod
    def forward(
        ctx: Any, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, epsilon: float
    ) -> paddle.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.epsilon = epsilon
        ctx.needed = [not tensor.stop_gradient for tensor in (x, weight, bias)]
        return F.layer_norm(x, [x.shape[-1]], weight, bias, epsilon)

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        size = x.shape[-1]
        shape, x, grad = x.shape, x.reshape([-1, size]), grad.reshape([-1, size])
        # Row means as products with a column: paddle reduces with one thread.
        mean_of = paddle.full([size, 1], 1.0 / size, x.dtype)
        centred = x - spread_column(paddle.matmul(x, mean_of), size)
        scale = paddle.rsqrt(paddle.matmul(centred * centred, mean_of) + ctx.epsilon)
        by_row = grad * centred
        needs_x, needs_weight, needs_bias = ctx.needed
        grad_x = None
        if needs_x:
            # With n = centred * scale and g = grad * w, the input's gradient is
            # scale * (g - mean(g) - n * mean(g * n)): what changes the mean or the variance of a
            # row has no effect.
            mean_weighted = paddle.unsqueeze(weight / size, 1)
            shift = scale * paddle.matmul(grad, mean_weighted)
            along = scale**3 * paddle.matmul(by_row, mean_weighted)
            grad_x = grad * paddle.matmul(scale, weight.unsqueeze(0))
            grad_x = grad_x - spread_column(shift, size) - centred * spread_column(along, size)
            grad_x = grad_x.reshape(shape)
        return (
            grad_x,
            paddle.matmul(scale, by_row, transpose_x=True)[0] if needs_weight else None,
            column_sums(grad) if needs_bias else None,
        )
