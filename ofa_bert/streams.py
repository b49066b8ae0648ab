"""The three standard streams, as a command may rely on them."""

from __future__ import annotations

import io
import os
import sys


def mend_streams() -> None:
    """Open the streams that were closed, and let standard output write any character.

    A closed one is None in Python, and the next file that is opened gets its number: what a library
    writes to standard error would then be written into that file.
    """
    # In this order each takes the lowest number that is free, which is its own.
    for name, mode in [("stdin", "r"), ("stdout", "w"), ("stderr", "w")]:
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115  # to the end
            setattr(sys, name, stream)
    # Standard error does so by itself. A label may be of any language, whatever the terminal's.
    set_output(errors="backslashreplace")


def set_output(*, encoding: str | None = None, errors: str | None = None) -> None:
    """Reconfigure standard output, unless another object stands in its place."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=encoding, errors=errors)
