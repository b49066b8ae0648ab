"""Small files read with one-line errors, and files replaced whole or not at all."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ofa_bert.errors import InputError
from ofa_bert.runtime import memory_bytes
from ofa_bert.safe_text import short

MAX_JSON_BYTES = 16 << 20
"""The scores of a BERT-large's heads and neurons take 2 MB; parsed, JSON takes up to 25 times."""


def read_json(path: str | Path, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.
        what: what to call it in messages, e.g. ``model config``.

    Raises:
        InputError: as ``read_small``, or if it is no valid JSON, holds a name twice, or is
            something other than an object.
    """
    return parse_json(read_small(path, what, encoding="utf-8-sig"), f"{what} {path}")


def read_small(
    path: str | Path, what: str, *, most_bytes: int = MAX_JSON_BYTES, encoding: str = "utf-8"
) -> str:
    """Read a file of text whole.

    Args:
        path: the file.
        what: what to call it in messages, e.g. ``model config``.
        most_bytes: its greatest size.
        encoding: ``utf-8``, or ``utf-8-sig`` to pass over a byte order mark.

    Raises:
        InputError: if it is missing, unreadable, too large, not UTF-8, no regular file, or a link
            out of its directory.
    """
    path = Path(path)
    try:
        check_own_file(path, what)
        if path.stat().st_size > most_bytes:
            raise InputError(f"{what} {path} must be at most {most_bytes} bytes; it is larger")
        return path.read_text(encoding=encoding)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{what} {path} cannot be read: {reason(error)}") from None


def check_own_file(path: Path, what: str) -> None:
    """Refuse what only looks like a file of the directory it stands in.

    A directory from a stranger may hold a link to a file of ours, whose text would then be copied
    into what is exported, or a pipe, which never ends. Of links out of the directory only those
    of the Hugging Face cache are followed, where ``snapshots/<commit>/<name>`` is a link into
    ``blobs``.

    Raises:
        InputError: if the file is no regular one, or a link out of its directory.
        OSError: if it is missing.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        kind = "a directory" if path.is_dir() else "a pipe or device"
        raise InputError(f"{what} {path} cannot be read: it must be a file; it is {kind}")
    folder, target = path.parent.resolve(), path.resolve()
    allowed = [folder]
    if folder.parent.name == "snapshots":
        allowed.append(folder.parent.parent / "blobs")
    if not any(target.is_relative_to(place) for place in allowed):
        raise InputError(
            f"{what} {path} must be a file of its directory; it is a link out of it, to "
            f"{short(str(target))}; copy the file there if you trust it"
        )


def check_fits_memory(path: Path, what: str, times: int = 1) -> None:
    """Refuse a file that this machine's memory cannot hold; a file of holes may claim terabytes.

    Args:
        path: the file.
        what: what to call it in messages.
        times: how often its size it takes once it is read.

    Raises:
        InputError: if it is too large.
        OSError: if it is missing.
    """
    needed, found = path.stat().st_size * times, memory_bytes()
    if needed > found:
        raise InputError(
            f"{what} {path} must fit into memory; reading it takes {needed / 1e9:.0f} GB, and "
            f"this machine has {found / 1e9:.0f} GB"
        )


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


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the name {short(name)} stands twice")
            seen.add(name)
    return values
