"""When our own kernels are the faster ones."""

from __future__ import annotations

import math

import paddle


def trains_on_cpu(x: paddle.Tensor) -> bool:
    """Whether gradients are recorded for ``x`` on the CPU, where paddle's own backward is slow.

    Elsewhere (inference, GPUs, a graph being traced) paddle's fused kernels are used.
    """
    return paddle.in_dynamic_mode() and paddle.is_grad_enabled() and x.place.is_cpu_place()


def column_sums(x: paddle.Tensor) -> paddle.Tensor:
    """Sum ``[rows, columns]`` over rows: as a product, which uses all cores, a sum does not."""
    return paddle.matmul(paddle.ones([1, x.shape[0]], x.dtype), x)[0]


def spread_column(column: paddle.Tensor, columns: int) -> paddle.Tensor:
    """Repeat ``[rows, 1]`` to ``[rows, columns]``.

    Writing it out as a product and then combining tensors of one shape takes paddle less time than
    broadcasting does; benchmarks/tries.py measures it.
    """
    return paddle.matmul(column, paddle.ones([1, columns], column.dtype))


def spread_row(row: paddle.Tensor, shape: list[int]) -> paddle.Tensor:
    """Repeat ``[columns]`` to ``shape``, whose last axis is ``columns``; see ``spread_column``."""
    rows = math.prod(shape[:-1])
    return paddle.matmul(paddle.ones([rows, 1], row.dtype), row.unsqueeze(0)).reshape(shape)
