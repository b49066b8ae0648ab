"""Mistakes a user can mend, told in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ofa_bert.safe_text import one_line

MAX_NAMES, MAX_NAME = 100, 80
"""Most names of a message, and most characters of each: a file may hold millions."""


class InputError(ValueError):
    """Something the user gave is wrong: the message says what, what was found and what to type.

    The commands print it as one line on standard error and exit with code 2.
    """


class CheckError(RuntimeError):
    """What we made failed our own check: not the user's fault. Exit code 1."""


class LostPeerError(RuntimeError):
    """Another process of the run is gone, and says itself why: not a fault of this one. Code 1."""


def closest(name: str, known: Iterable[str]) -> str | None:
    """Find which of ``known`` was probably meant by ``name``, in any case; None if none is near."""
    lowered = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.5)
    return lowered[close[0]] if close else None


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which of ``known`` was probably meant by ``name``, as the tail of an error message."""
    names = sorted(one_line(str(candidate), MAX_NAME) for candidate in known)
    match = closest(name[:MAX_NAME], names[:MAX_NAMES])
    hint = f"did you mean {match!r}? " if match else ""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{hint}known: {', '.join(names[:MAX_NAMES])}{more}"
