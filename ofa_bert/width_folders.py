"""Where an export of several widths puts each of them, and how such a directory is told."""

from __future__ import annotations

from pathlib import Path

from ofa_bert.widths import width_label

PREFIX = "width_mult_"
MAX_NAMED = 8


def width_folder(width_mult: float) -> str:
    """Name the directory of one width among several."""
    return f"{PREFIX}{width_label(width_mult)}"


def width_folders(directory: Path) -> list[Path]:
    """Find the directories of widths in one; none where it is no directory."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.glob(f"{PREFIX}*") if path.is_dir())


def hint_of_widths(directory: Path) -> str:
    """Say which directories to name instead of one that holds several widths; else nothing."""
    folders = width_folders(directory)
    named = ", ".join(map(str, folders[:MAX_NAMED]))
    return f"it holds several widths: name one of them, {named}" if folders else ""
