"""Convolution kernels of several sizes in one weight.

A smaller kernel is the centre of the larger one, as it is or through learned matrices
(Once-for-All, arXiv:1908.09791 §3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import paddle
import paddle.nn.functional as F

from ofa_bert.rules import require


def compute_start_end(kernel_size: int, sub_kernel_size: int) -> tuple[int, int]:
    """Say where the centre of ``sub_kernel_size`` stands in a kernel: its slice, end excluded.

    Raises:
        InputError: if the two do not have one centre, or the smaller one is the larger.
    """
    require(
        1 <= sub_kernel_size <= kernel_size and (kernel_size - sub_kernel_size) % 2 == 0,
        f"a kernel of {sub_kernel_size} has no centre in one of {kernel_size}; "
        "use odd kernel sizes, each at most the largest",
    )
    start = (kernel_size - sub_kernel_size) // 2
    return start, start + sub_kernel_size


def get_same_padding(kernel_size: int) -> int:
    """Give the padding that keeps height and width at stride 1.

    Raises:
        InputError: if ``kernel_size`` is even: no padding does.
    """
    check_odd([kernel_size])
    return kernel_size // 2


def check_odd(kernel_sizes: Sequence[int]) -> None:
    """Raise ``InputError`` unless every size is odd: an even one has no centre."""
    for size in kernel_sizes:
        require(
            isinstance(size, int) and size >= 1 and size % 2 == 1,
            f"kernel_size must be odd numbers; got {size}; use e.g. {size + 1 if size > 0 else 3}"
            if isinstance(size, int)
            else f"kernel_size must be whole numbers; got {size!r}; use e.g. 3",
        )


def matrix_name(larger: int, smaller: int) -> str:
    """Name the parameter that takes a kernel of one size to the next smaller one."""
    return f"{larger}to{smaller}_matrix"


def sub_kernel(
    weight: paddle.Tensor,
    kernel_size: int,
    kernel_sizes: Sequence[int] = (),
    matrix: Callable[[str], paddle.Tensor] | None = None,
) -> paddle.Tensor:
    """Take a smaller kernel out of a larger one.

    Args:
        weight: ``[a, b, K, K]``.
        kernel_size: ``k``, at most ``K``.
        kernel_sizes: the chain of sizes that matrices lead down, ascending, ending at ``K``.
        matrix: gives the parameter of a ``matrix_name``, ``[s * s, s * s]`` for the smaller size
            ``s``, which multiplies the centre from the right, row by row; None crops the centre.

    Returns:
        ``[a, b, k, k]``.
    """
    if matrix is None:
        start, end = compute_start_end(weight.shape[-1], kernel_size)
        whole = (start, end) == (0, weight.shape[-1])
        return weight if whole else weight[:, :, start:end, start:end]
    require(
        kernel_size in kernel_sizes,
        f"kernel_size must be one of {list(kernel_sizes)}, which have a matrix; got {kernel_size}",
    )
    chain = [size for size in reversed(kernel_sizes) if size >= kernel_size]
    for larger, smaller in pairwise(chain):
        start, end = compute_start_end(larger, smaller)
        centre = weight[:, :, start:end, start:end]
        flat = paddle.matmul(centre.flatten(2), matrix(matrix_name(larger, smaller)))
        weight = flat.reshape(centre.shape)
    return weight


def four_paddings(padding: Any) -> tuple[int, int, int, int] | None:
    """Read a padding as (top, bottom, left, right): one, two or four numbers; None for "SAME"."""
    if isinstance(padding, str):
        return None if padding.upper() == "SAME" else (0, 0, 0, 0)
    if isinstance(padding, int):
        return (padding,) * 4
    if len(padding) == 2:
        return (padding[0], padding[0], padding[1], padding[1])
    return tuple(padding)


def wider_padding(padding: Any, ring: int, dilation: Sequence[int]) -> Any:
    """Pad for a kernel that has ``ring`` more on each side, so that its centre stays in place."""
    around = four_paddings(padding)
    if ring == 0 or around is None:
        return padding
    if isinstance(padding, int) and dilation[0] == dilation[1]:
        return padding + ring * dilation[0]
    rings = (ring * dilation[0],) * 2 + (ring * dilation[1],) * 2
    return [pad + more for pad, more in zip(around, rings, strict=True)]


def centred(
    kernel: paddle.Tensor, kernel_size: int, padding: Any, dilation: Sequence[int]
) -> tuple[paddle.Tensor, Any]:
    """Give a kernel and padding that stand for ``kernel`` within zeros up to ``kernel_size``.

    Less padding does it where there is enough of it; elsewhere the zeros are written out.

    Returns:
        The kernel and the padding to convolve with; the output has the full kernel's size.
    """
    ring = (kernel_size - kernel.shape[-1]) // 2
    if ring == 0:
        return kernel, padding
    around = four_paddings(padding)
    if around is not None:
        rings = (ring * dilation[0],) * 2 + (ring * dilation[1],) * 2
        less = [pad - taken for pad, taken in zip(around, rings, strict=True)]
        if min(less) >= 0:
            return kernel, less
    return F.pad(kernel, [ring] * 4), padding
