"""The first part of a tensor."""

from __future__ import annotations

import paddle


def prefix(tensor: paddle.Tensor | None, *sizes: int) -> paddle.Tensor | None:
    """Keep the first ``sizes[i]`` entries of axis ``i``; axes without a size stay whole.

    A tensor that is already of that size is given back itself: a full slice would copy it, and its
    gradient, for nothing.
    """
    if tensor is None or list(tensor.shape[: len(sizes)]) == list(sizes):
        return tensor
    return tensor[tuple(slice(size) for size in sizes)]
