"""Directories that stand on the disk whole, provably so, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MANIFEST = "manifest.json"
PARTIAL = "partial_"
CHUNK_BYTES = 1 << 20


class DamagedError(Exception):
    """A directory is not as it was written; the message names the file and what is wrong."""


@contextmanager
def new_directory(target: Path, names: Iterable[str]) -> Iterator[Path]:
    """Give an empty directory to fill; it becomes ``target`` once all of it is on the disk.

    Each file is flushed to the disk, then a manifest with the hash of each, and then the
    directory is renamed: a kill or a loss of power leaves no ``target`` or a whole one.

    Args:
        target: must not exist yet.
        names: of the files it may hold; no others are ever deleted.

    Raises:
        OSError: if the system refuses a write; the room taken is then given back.
    """
    partial = target.with_name(PARTIAL + target.name)
    remove_directory(partial, names)
    partial.mkdir()
    try:
        yield partial
        _seal(partial)
        partial.rename(target)
        sync(target.parent)
    except BaseException:
        with suppress(OSError):
            remove_directory(partial, names)
        raise


def check_whole(directory: Path) -> None:
    """Compare a directory of ``new_directory`` with its manifest.

    Raises:
        DamagedError: if a file is missing, foreign, of another size or of another content.
    """
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        written = {str(name): (int(f["bytes"]), str(f["sha256"])) for name, f in manifest.items()}
        found = {path.name for path in directory.iterdir()} - {MANIFEST}
    except FileNotFoundError:
        raise DamagedError(f"{MANIFEST} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedError(f"{MANIFEST} cannot be read") from None
    for name in sorted(written.keys() | found):
        if name not in found:
            raise DamagedError(f"{name} is missing")
        if name not in written:
            raise DamagedError(f"{name} does not belong to it")
        _check_file(directory / name, *written[name])


def remove_directory(directory: Path, names: Iterable[str]) -> None:
    """Remove a directory's files of these names, and itself unless it holds others.

    It is renamed first, so that a kill in between leaves nothing that looks whole.
    """
    if not directory.is_dir() or directory.is_symlink():
        return
    if not directory.name.startswith(PARTIAL):
        partial = directory.with_name(PARTIAL + directory.name)
        remove_directory(partial, names)
        directory = directory.rename(partial)
    for name in (*names, MANIFEST):
        (directory / name).unlink(missing_ok=True)
    if not any(directory.iterdir()):
        directory.rmdir()


def sync(path: Path) -> None:
    """Flush a file, or the names in a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Hash a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _seal(directory: Path) -> None:
    """Flush every file, and write the manifest last."""
    manifest = {}
    for path in sorted(directory.iterdir()):
        sync(path)
        manifest[path.name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    path = directory / MANIFEST
    path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    sync(path)
    sync(directory)


def _check_file(path: Path, size: int, digest: str) -> None:
    try:
        found = path.stat().st_size
        if found != size:
            raise DamagedError(f"{path.name} has {found} bytes, not {size}")
        if sha256(path) != digest:
            raise DamagedError(f"the content of {path.name} has changed")
    except OSError as error:
        raise DamagedError(f"{path.name} cannot be read: {error.strerror}") from None
