"""Mistakes a user can mend, told in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave is wrong: the message says what, what was found and what to type.

    The commands print it as one line on standard error and exit with code 2.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which of ``known`` was probably meant by ``name``, as the tail of an error message."""
    names = sorted(known)
    lowered = {candidate.lower(): candidate for candidate in names}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.5)
    hint = f"did you mean {lowered[close[0]]!r}? " if close else ""
    return f"{hint}known: {', '.join(names)}"
