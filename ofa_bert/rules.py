"""What the rules of settings and of files are written with."""

from __future__ import annotations

from typing import Any

from ofa_bert.errors import InputError
from ofa_bert.safe_text import short

MAX_SIZE = 2**31
"""Of any dimension of a network."""


def require(rule: bool, message: str) -> None:
    """Raise ``InputError(message)`` unless ``rule`` holds."""
    if not rule:
        raise InputError(message)


def check_not_empty(name: str, path: str) -> None:
    """Raise ``InputError`` for an empty path, which would be where we stand."""
    require(str(path) != "", f"{name} must not be empty; is the shell variable set?")


def check_path(name: str, value: str) -> None:
    """Raise ``InputError`` for a path that is empty, or that no file of settings can hold."""
    check_not_empty(name, value)
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{name} must be UTF-8, in which the settings are written; got {short(str(value))}; "
            "rename it"
        ) from None


def is_size(value: Any, least: int = 1, most: int = MAX_SIZE) -> bool:
    """Say whether a value from a file is a whole number within bounds."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
