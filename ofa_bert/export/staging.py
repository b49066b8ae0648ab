"""Write a directory of files so that a reader finds all of an export or none of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ofa_bert.checkpoint.files import reason
from ofa_bert.deploy import DEPLOY_FILE, GRAPH_FILE, PARAMS_FILE
from ofa_bert.errors import InputError

TOKENIZER_FILES = frozenset(
    {
        "vocab.txt",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
    }
)
PARTIAL = ".partial_"
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
    found = sorted(path.name for path in directory.iterdir() if not is_partial(path))
    foreign = [name for name in found if name not in kind.files]
    mark_file, mark_text = kind.mark
    marked = mark_file in found and mark_text in (directory / mark_file).read_text(
        "utf-8", "ignore"
    )
    if found and (foreign or not marked):
        raise InputError(
            f"{kind.name} directory must be new, empty or an earlier export; got {directory}, "
            f"which holds {', '.join((foreign or found)[:3])}; name another directory"
        )


@contextmanager
def staged(directory: Path, kind: ExportKind) -> Iterator[Path]:
    """Give an empty directory to fill, and move its files to ``directory`` at the end.

    If the block raises, ``directory`` stays as it was. An earlier export in it is replaced.

    Raises:
        InputError: if ``directory`` holds something else.
    """
    check_replaceable(directory, kind)
    new = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Within: on the same disk, so that moving is renaming, and perhaps all we may write to.
        stage = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=directory))
    except OSError as error:
        _remove_empty([path for path in new if path.exists()])
        raise InputError(f"{kind.name} {directory} cannot be written: {reason(error)}") from None
    try:
        yield stage
        _move_into_place(stage, directory, kind)
    except BaseException:
        shutil.rmtree(stage)
        _remove_empty(new)
        raise
    stage.rmdir()


def _remove_empty(innermost_first: list[Path]) -> None:
    for directory in innermost_first:
        if any(directory.iterdir()):
            return
        directory.rmdir()


def is_partial(path: Path) -> bool:
    """Tell what an export that was killed has left."""
    return path.name.startswith(PARTIAL) and path.is_dir() and not path.is_symlink()


def _move_into_place(stage: Path, directory: Path, kind: ExportKind) -> None:
    # The entry file leaves first and comes last: whoever kills us in between leaves a directory
    # that does not load, never one that mixes two exports.
    (directory / kind.entry).unlink(missing_ok=True)
    for path in directory.iterdir():
        if path != stage:
            shutil.rmtree(path) if is_partial(path) else path.unlink()
    for path in sorted(stage.iterdir(), key=lambda path: path.name == kind.entry):
        shutil.move(path, directory / path.name)
