"""Where we may write besides what the user names."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ofa_bert.errors import InputError
from ofa_bert.run_lock import LOCK, locked, read_holder


def cache_directory() -> Path:
    """Give the folder of all we keep: ``OFA_BERT_CACHE``, or ``ofa_bert`` in the user's cache.

    Raises:
        InputError: if none is named and the user has no home, as one that the system does not know.
    """
    chosen = os.environ.get("OFA_BERT_CACHE")
    if chosen:
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ofa_bert"
    except RuntimeError:
        raise InputError(
            "cache directory must be named where the user has no home directory; got none; "
            "set OFA_BERT_CACHE to a folder of yours"
        ) from None


@contextmanager
def scratch_directory(name: str) -> Iterator[Path]:
    """Give a directory in the cache, empty but for a lock, for as long as the block runs.

    Raises:
        InputError: if the cache cannot be written, or there is none.
    """
    parent = cache_directory()
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent, name)
        temporary = tempfile.TemporaryDirectory(prefix=f"{name}_", dir=parent)
    except OSError as error:
        raise InputError(
            f"cache directory {parent} cannot be written: {error.strerror}; "
            "set OFA_BERT_CACHE to one that can"
        ) from None
    with temporary as path, locked(Path(path)):
        yield Path(path)


def _remove_abandoned(parent: Path, name: str) -> None:
    """Remove what processes that were killed left there: graphs of large models, perhaps."""
    for folder in parent.glob(f"{name}_*"):
        with suppress(InputError):
            holder = read_holder(folder / LOCK)
            if holder is not None and holder.is_gone:
                shutil.rmtree(folder, ignore_errors=True)
