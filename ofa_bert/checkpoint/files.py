"""Small files read with one-line errors, and files replaced whole or not at all."""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ofa_bert.errors import InputError

MAX_JSON_BYTES = 64 << 20

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80


def read_json(path: str | Path, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.
        what: what to call it in messages, e.g. ``model config``.

    Raises:
        InputError: if it is missing, unreadable, larger than 64 MiB, no valid JSON, holds a name
            twice, or is something other than an object.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"{what} {path} must be at most {MAX_JSON_BYTES} bytes; it is larger")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{what} {path} cannot be read: {reason(error)}") from None
    return parse_json(text, f"{what} {path}")


def parse_json(text: str, where: str) -> dict[str, Any]:
    """Parse a JSON object; ``where`` begins the message if it is none.

    Raises:
        InputError: if ``text`` is no valid JSON object.
    """
    try:
        value = json.loads(text, object_pairs_hook=_no_name_twice)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid JSON: {reason(error)}") from None
    if not isinstance(value, dict):
        raise InputError(f"{where} must hold a JSON object {{...}}; got {short(value)}")
    return value


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as JSON, replacing the file whole.

    Raises:
        InputError: if it cannot be written; the old file then stands as it was.
    """
    with replacing(path) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write; it takes the place of ``path`` at the end.

    A reader, or a run that is killed, finds the old file or the new one, never half of one.

    Raises:
        InputError: if the system refuses a write; nothing is left behind.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {reason(error)}") from None
    finally:
        temporary.unlink(missing_ok=True)


def reason(error: BaseException) -> str:
    """Say an exception in one short line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:200]


def short(value: object) -> str:
    """Write a value for a message, abbreviated.

    Written out in full, a value from a file of strangers may be endless or nest too deep.
    """
    return _repr.repr(value)


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {short(twice)} stands twice")
    return values
