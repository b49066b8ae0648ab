"""Whole numbers of products that floating point may leave just beside them."""

from __future__ import annotations

import math

SLACK = 1e-9
"""Far above the rounding of a product of steps or heads, and far below a share that is meant."""


def round_down(number: float) -> int:
    """Round down to a whole number; 100 * 0.29, which is 28.999999999999996, is 29."""
    return math.floor(number + SLACK)


def round_up(number: float) -> int:
    """Round up to a whole number; 100 * 1.1, which is 110.00000000000001, is 110."""
    return math.ceil(number - SLACK)
