"""Where we may write besides what the user names."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ofa_bert.errors import InputError


def cache_directory() -> Path:
    """Give the folder of all we keep: ``OFA_BERT_CACHE``, or ``ofa_bert`` in the user's cache."""
    chosen = os.environ.get("OFA_BERT_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ofa_bert"


@contextmanager
def scratch_directory(name: str) -> Iterator[Path]:
    """Give an empty directory in the cache, for as long as the block runs.

    Raises:
        InputError: if the cache cannot be written.
    """
    parent = cache_directory()
    try:
        parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=f"{name}_", dir=parent)
    except OSError as error:
        raise InputError(
            f"cache directory {parent} cannot be written: {error.strerror}; "
            "set OFA_BERT_CACHE to one that can"
        ) from None
    with temporary as path:
        yield Path(path)
