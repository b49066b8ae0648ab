"""A width as it is typed, written and bounded; ``subnet.py`` says what one is of a network."""

from __future__ import annotations

from ofa_bert.errors import InputError
from ofa_bert.rules import require
from ofa_bert.safe_text import short


def parse_width(text: str | float) -> float:
    """Read a width given as ``0.5``, ``1/2`` or a number.

    Raises:
        InputError: if it is neither a decimal number nor a fraction of whole numbers.
    """
    # Not Fraction, which writes 1e999999999 out in full.
    above, is_fraction, below = str(text).strip().partition("/")
    try:
        return float(above) / float(below) if is_fraction else float(above)
    except (ValueError, ZeroDivisionError):
        raise InputError(
            f"width_mult must be a number or a fraction; got {short(text)}; type e.g. 0.5 or 5/6"
        ) from None


def width_label(width_mult: float) -> str:
    """Write a width the short way it appears in tables and folder names, e.g. ``0.8333``."""
    return f"{width_mult:.4f}".rstrip("0").ljust(3, "0")


def check_width(width_mult: float) -> None:
    """Raise ``InputError`` unless ``width_mult`` is in (0, 1]."""
    require(
        0.0 < width_mult <= 1.0,
        f"width_mult must be above 0 and at most 1; got {width_mult:g}; "
        "it is the fraction of heads and FFN neurons to keep",
    )
