"""Arrays kept on disk under the hash of what they were made from."""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ofa_bert.errors import InputError
from ofa_bert.places import cache_directory, scratch_directory

logger = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]
# RuntimeError: a flipped bit asks for a password, or for a compression that zipfile lacks.
FAULTS = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def cache_key(parts: Iterable[str | None]) -> str:
    """Hash strings in order (SHA-256); each is led by its length, so that none runs into the next.

    None differs from the empty string.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = b"" if part is None else part.encode()
        digest.update(b"-" if part is None else b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


def cached_arrays(key: str, names: Iterable[str], build: Callable[[], Arrays]) -> Arrays:
    """Read the arrays kept under ``key``, or build and keep them.

    A file that is broken is built anew; one that cannot be written is a warning. Either way the
    arrays are those of ``build``.

    Args:
        key: from ``cache_key``.
        names: of the arrays.
        build: makes them.
    """
    try:
        path = cache_directory() / f"{key}.npz"
    except InputError as error:
        logger.warning("nothing is kept for the next run: %s", error)
        return build()
    arrays = _read(path, list(names))
    if arrays is None:
        arrays = build()
        _write(path, arrays)
    return arrays


def _read(path: Path, names: list[str]) -> Arrays | None:
    try:
        # NumPy believes a header, and returns, before it knows the check sum.
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise zipfile.BadZipFile("its check sum is another")
        # A pickle could run code; plain arrays cannot.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return {name: kept[name] for name in names}
    except FileNotFoundError:
        return None
    except FAULTS as error:
        logger.info("cache file %s is broken and made anew: %s", path, error)
        return None


def _write(path: Path, arrays: Arrays) -> None:
    try:
        # Whole or not at all, also when two processes write at once; and what a kill leaves is
        # removed by the next to write.
        with scratch_directory("arrays") as folder:
            with (folder / path.name).open("wb") as file:
                np.savez(file, **arrays)
            os.replace(folder / path.name, path)
    except (OSError, InputError) as error:
        reason = getattr(error, "strerror", None) or error
        logger.warning("nothing is kept for the next run: cannot write %s (%s)", path, reason)
