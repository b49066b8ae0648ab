"""Write a directory of files so that a reader finds all of an export or none of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from ofa_bert.checkpoint.files import reason
from ofa_bert.deploy import DEPLOY_FILE, GRAPH_FILE, PARAMS_FILE
from ofa_bert.durable import sync
from ofa_bert.errors import InputError
from ofa_bert.run_lock import is_lock_file, locked
from ofa_bert.width_folders import width_folders

TOKENIZER_FILES = frozenset(
    {
        "vocab.txt",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
    }
)
FILLING, MOVING = ".filling", ".moving"
"""Directories of ours within the one that is written: the state of an export is their name."""
CARD_FILE = "README.md"
CARD_MARK = "<!-- written by ofa_bert export -->"


@dataclass(frozen=True)
class ExportKind:
    """Which files an export of one kind consists of."""

    name: str
    """What to call it in messages."""
    entry: str
    """The file without which nothing loads the directory; written last."""
    files: frozenset[str]
    """Every file it may hold."""
    mark: tuple[str, str]
    """A file and a text in it that only our export writes."""


SUB_MODEL = ExportKind(
    "sub-model",
    "config.json",
    TOKENIZER_FILES | {"config.json", "model.safetensors", CARD_FILE},
    (CARD_FILE, CARD_MARK),
)
STATIC = ExportKind(
    "static graph",
    DEPLOY_FILE,
    TOKENIZER_FILES | {DEPLOY_FILE, GRAPH_FILE, PARAMS_FILE},
    (DEPLOY_FILE, '"pad_token_id"'),
)


def check_replaceable(directory: Path, kind: ExportKind) -> None:
    """Refuse a directory that holds anything but an earlier export of the same kind.

    Raises:
        InputError: if it is a file, or holds what an export did not write.
    """
    if not directory.exists():
        return
    if not directory.is_dir():
        raise InputError(f"{kind.name} directory must be a directory; got the file {directory}")
    found = {path.name for path in directory.iterdir() if not is_lock_file(path.name)} - {FILLING}
    foreign = sorted(found - kind.files - {MOVING})
    # Cut off while its files moved, an export may lack any of them.
    if found and (foreign or not (MOVING in found or _is_marked(directory, kind))):
        hint = "name another directory"
        if foreign and set(foreign) <= {path.name for path in width_folders(directory)}:
            hint = f"that is an export of several widths: {hint}, or export several widths again"
        raise InputError(
            f"{kind.name} directory must be new, empty or an earlier export; got {directory}, "
            f"which holds {', '.join((foreign or sorted(found))[:3])}; {hint}"
        )


def check_parent(directory: Path, kind: ExportKind) -> None:
    """Refuse a directory for several widths that holds a model itself, which would stay there.

    Raises:
        InputError: if it does.
    """
    found = [name for name in (kind.entry, MOVING) if (directory / name).exists()]
    if found:
        raise InputError(
            f"{kind.name} directory for several widths must not hold a model itself; "
            f"got {directory}, which holds {found[0]}; name another directory"
        )


@contextmanager
def staged(directory: Path, kind: ExportKind) -> Iterator[Path]:
    """Give an empty directory to fill, and move its files to ``directory`` at the end.

    If the block raises, ``directory`` stays as it was. An earlier export in it is replaced, and so
    is what an export that was killed left there.

    Raises:
        InputError: if ``directory`` holds something else or another export works in it, or if the
            system refuses a write.
    """
    check_replaceable(directory, kind)
    new = [d for d in (directory, *directory.parents) if not d.exists()]
    try:
        with _written(directory, kind):
            directory.mkdir(parents=True, exist_ok=True)
        with _held(directory, kind):
            stage = directory / FILLING
            try:
                with _written(directory, kind):
                    for name in (FILLING, MOVING):
                        _remove_stage(directory / name, kind)
                    stage.mkdir()
                yield stage
                with _written(directory, kind):
                    _move_into_place(stage, directory, kind)
            except BaseException:
                with suppress(OSError):
                    _remove_stage(stage, kind)
                raise
    except BaseException:
        _remove_empty(new)
        raise


@contextmanager
def _written(directory: Path, kind: ExportKind) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{kind.name} {directory} cannot be written: {reason(error)}") from None


@contextmanager
def _held(directory: Path, kind: ExportKind) -> Iterator[None]:
    with ExitStack() as stack:
        with _written(directory, kind):
            stack.enter_context(locked(directory))
        yield


def _is_marked(directory: Path, kind: ExportKind) -> bool:
    file, text = kind.mark
    path = directory / file
    return path.is_file() and text in path.read_text("utf-8", "ignore")


def _remove_stage(stage: Path, kind: ExportKind) -> None:
    """Remove a directory of ours and the files an export writes, drafts of them included."""
    if stage.is_symlink() or not stage.is_dir():
        return
    for path in list(stage.iterdir()):
        if path.name in kind.files or fnmatch(path.name, ".*.tmp"):
            path.unlink()
    stage.rmdir()


def _remove_empty(innermost_first: list[Path]) -> None:
    for directory in innermost_first:
        if directory.exists() and any(directory.iterdir()):
            return
        with suppress(OSError):
            directory.rmdir()


def _move_into_place(stage: Path, directory: Path, kind: ExportKind) -> None:
    for path in [*stage.iterdir(), stage]:
        sync(path)
    stage = stage.rename(directory / MOVING)
    # The entry file leaves first and comes last: whoever kills us in between leaves a directory
    # that does not load, never one that mixes two exports.
    (directory / kind.entry).unlink(missing_ok=True)
    for name in kind.files:
        (directory / name).unlink(missing_ok=True)
    for path in sorted(stage.iterdir(), key=lambda path: path.name == kind.entry):
        path.rename(directory / path.name)
    sync(directory)
    stage.rmdir()
