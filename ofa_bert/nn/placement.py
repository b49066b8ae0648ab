"""When our own kernels are the faster ones."""

from __future__ import annotations

import paddle


def trains_on_cpu(x: paddle.Tensor) -> bool:
    """Whether gradients are recorded for ``x`` on the CPU, where paddle's own backward is slow.

    Elsewhere (inference, GPUs, a graph being traced) paddle's fused kernels are used.
    """
    return paddle.in_dynamic_mode() and paddle.is_grad_enabled() and x.place.is_cpu_place()


def column_sums(x: paddle.Tensor) -> paddle.Tensor:
    """Sum ``[rows, columns]`` over rows: as a product, which uses all cores, a sum does not."""
    return paddle.matmul(paddle.ones([1, x.shape[0]], x.dtype), x)[0]
