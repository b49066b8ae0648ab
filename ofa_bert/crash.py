"""What to keep of an error of ours, so that whoever meets it can report it."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from ofa_bert import runtime
from ofa_bert.deploy import versions
from ofa_bert.errors import InputError
from ofa_bert.places import cache_directory
from ofa_bert.safe_text import one_line

EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h: an error within the program."""


def report_crash(error: BaseException, argv: Sequence[str]) -> int:
    """Say an error of ours on one line of standard error, with the file that holds the details.

    Where the log level is debug, the details are printed too.

    Returns:
        The exit code.
    """
    details = crash_details(error, argv)
    if shows_details(argv):
        print(details, file=sys.stderr)  # noqa: T201
    path = _write(details)
    where = f"with {path}" if path else "with what --log_level debug prints"
    what = one_line(f"{type(error).__name__}: {error}", 300)
    print(  # noqa: T201
        f"error: this is a fault of ofa_bert, not yours: {what}; please report it {where} on the "
        "issue tracker of the project; python -m ofa_bert doctor tells whether the installation "
        "is to blame",
        file=sys.stderr,
    )
    return EXIT_CODE


def shows_details(argv: Sequence[str]) -> bool:
    """Whether tracebacks are shown: the log says so, or before it is set up the command line."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--log_level", nargs="?")
    asked = parser.parse_known_args(argv)[0].log_level == "debug"
    return asked or logging.getLogger().isEnabledFor(logging.DEBUG)


def crash_details(error: BaseException, argv: Sequence[str]) -> str:
    """Write out the command line, the versions and the traceback."""
    known = {"python": platform.python_version(), "platform": platform.platform(), **versions()}
    lines = [
        f"command: {sys.argv[0]} {' '.join(argv)}",
        *(f"{name}: {value}" for name, value in known.items()),
        f"runtime: {runtime.describe()}",
        "",
        *traceback.format_exception(error),
    ]
    return "\n".join(line.rstrip("\n") for line in lines) + "\n"


def _write(details: str) -> Path | None:
    """Keep the details in the cache directory, or where temporary files go; None if in neither."""
    name = f"error_{time.strftime('%Y%m%d_%H%M%S')}_{os.getpid()}.txt"
    for find in (lambda: cache_directory() / "errors", lambda: Path(tempfile.gettempdir())):
        try:
            folder = find()
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("x", encoding="utf-8", errors="backslashreplace") as file:
                file.write(details)
        except (OSError, InputError):
            continue
        return folder / name
    return None
