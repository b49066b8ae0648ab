"""Settings in YAML: a flat mapping of plain values, read so that no file can do more than that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ofa_bert.errors import InputError
from ofa_bert.safe_text import one_line

MAX_BYTES = 64 << 10
"""The settings of a run take 2 kB; PyYAML takes a second for a few hundred."""
MAX_DEPTH = 2
"""A mapping whose values may be lists."""


def read_settings_file(path: str | Path, what: str) -> dict[str, Any]:
    """Read a file of ``name: value`` lines, where a value may be a list of plain ones.

    Nothing but plain values: an alias can unfold a few lines into gigabytes, a tag makes objects.

    Args:
        path: the file, UTF-8.
        what: what to call it in messages.

    Raises:
        InputError: if it is missing, unreadable, too large, no YAML, holds more than that, or a
            name twice.
    """
    path = Path(path)
    try:
        if not path.is_file() and path.exists():
            raise InputError(f"{what} {path} must be a file; it is something else")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{what} {path} must be at most {MAX_BYTES} bytes; it is larger")
        return parse_settings(path.read_text(encoding="utf-8"), f"{what} {path}")
    except (OSError, UnicodeDecodeError) as error:
        text = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{what} {path} cannot be read: {one_line(text, 200)}") from None


def parse_settings(text: str, where: str) -> dict[str, Any]:
    """Parse what ``read_settings_file`` reads; ``where`` begins its messages.

    Raises:
        InputError: as ``read_settings_file``.
    """
    try:
        _check_plain(text)
        content = yaml.safe_load(text)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    # ValueError: a date of month 13, a number of 5,000 digits.
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{where} cannot be read: {one_line(reason, 200)}") from None
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise InputError(f"{where} must hold lines of 'name: value'; got {kind}")
    return content


def _check_plain(text: str) -> None:
    """Refuse what is more than plain values, from the events of the parser, which builds none."""
    depth, children, names = 0, 0, set[str]()
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise InputError("anchors (&) and aliases (*) must not stand in settings")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise InputError(f"tags must not stand in settings; got {one_line(tag, 80)!r}")
        if isinstance(event, yaml.ScalarEvent) and depth == 1:
            # The children of the outer mapping are name, value, name, value ...
            if children % 2 == 0 and event.value in names:
                raise InputError(f"the name {one_line(event.value, 80)!r} stands twice")
            names.update([event.value] if children % 2 == 0 else [])
            children += 1
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise InputError(f"values must be plain or lists; got one nested {depth} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            children += depth == 1
