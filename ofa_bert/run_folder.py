"""The directory a run writes: what may stand there, and what is made of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ofa_bert.checkpoint.files import read_json, reason, replacing, write_json
from ofa_bert.config import OutputConfig, SourceConfig
from ofa_bert.durable import sync
from ofa_bert.errors import InputError
from ofa_bert.metrics_log import MetricsLog
from ofa_bert.provenance import input_hashes
from ofa_bert.run_identity import (
    changed_inputs,
    changed_settings,
    changed_surroundings,
    describe_run,
)
from ofa_bert.run_lock import LOCK, locked
from ofa_bert.settings_file import read_settings_file

if TYPE_CHECKING:
    from ofa_bert.checkpointing import Checkpoints
    from ofa_bert.distributed import Ranks

logger = logging.getLogger(__name__)

RESULTS, SETTINGS, CHECKPOINTS, METRICS, START = (
    "results.json",
    "train_config.yaml",
    "checkpoints",
    "metrics.jsonl",
    "run.json",
)
MADE_BY_A_RUN = (
    RESULTS,
    SETTINGS,
    CHECKPOINTS,
    METRICS,
    START,
    "config.json",
    "model.safetensors",
    "supernet.json",
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
)


@dataclass(frozen=True)
class RunFolder:
    """The output directory of a training run."""

    path: Path
    keep_checkpoints: int
    run: dict[str, Any]
    """What the run started from: see ``describe_run``; and in the main process, as ``files``, the
    SHA-256 of what it read."""

    @property
    def checkpoints(self) -> Checkpoints:
        """Checkpoints while it trains."""
        from ofa_bert.checkpointing import Checkpoints

        return Checkpoints(self.path / CHECKPOINTS, self.keep_checkpoints, self.run)

    @property
    def metrics_log(self) -> MetricsLog:
        """The lines of loss and speed."""
        return MetricsLog(self.path / METRICS)

    def finish(self, results: dict[str, Any]) -> None:
        """Write the results, which mark the run as finished, and drop the checkpoints."""
        write_json(self.path / RESULTS, results)
        sync(self.path)  # the names too, before what they replace is gone
        self.checkpoints.clear()


def check_output(output: OutputConfig, source: SourceConfig, ranks: Ranks) -> None:
    """Refuse a directory before model and rows are read, which may take minutes.

    ``open_run_folder`` looks again, and at everything else, when it holds the directory.

    Raises:
        InputError: if it cannot be one of a run, is the model's, holds nothing to resume, or holds
            a finished run that is not to be replaced.
    """
    folder = Path(output.output_dir)
    if not ranks.is_main:
        return
    _check_place(folder, output, source.model_name_or_path)
    if output.overwrite_output_dir:
        return
    # Where a kill left its checkpoints, they must be removed, and only one run at a time may.
    whole = all((folder / name).exists() for name in (RESULTS, SETTINGS))
    if whole and not (folder / CHECKPOINTS).exists():
        raise InputError(_finished(folder, output))


@contextmanager
def open_run_folder(
    output: OutputConfig,
    configs: Sequence[Any],
    ranks: Ranks,
    inputs: Mapping[str, str] | None = None,
) -> Iterator[RunFolder]:
    """Make ready the output directory of a training run, note its settings there, and hold it.

    Args:
        output: the directory, and what to do with what stands there.
        configs: all settings of the run; those that shape the result must be those of the run
            that is resumed.
        ranks: only the main process looks and writes.
        inputs: fingerprints of what is read, by name; they too must be those of the run.

    Raises:
        InputError: if another run works in the directory, if a finished or unfinished run stands
            there and the user did not say what to do with it, if there is nothing to resume, or
            if a setting or an input differs from it.
    """
    path = Path(output.output_dir)
    run = describe_run(configs, inputs or {}, ranks)
    if ranks.is_main:
        # Now, right after they were read: at the end others may lie in their place.
        run["files"] = input_hashes(run["settings"])
    folder = RunFolder(path, output.keep_checkpoints, run)
    with ExitStack() as stack:
        if ranks.is_main:
            _check_place(path, output, folder.run["settings"].get("model_name_or_path"))
            with _written(path):
                path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(path))
                _prepare(path, output, folder.run)
        if ranks.size > 1:
            from ofa_bert.distributed import wait_for_all

            # Another process must not resume from what the main one is about to remove.
            wait_for_all(ranks)
        yield folder


def _check_place(folder: Path, output: OutputConfig, source: str | None) -> None:
    """Refuse what can be refused without writing anything."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"output_dir {folder} is a file; name a directory")
    if source and folder.resolve() == Path(source).resolve():
        raise InputError(
            f"output_dir must not be the directory of the model; got {folder} for both; "
            "name another directory"
        )
    if output.resume and not (folder / SETTINGS).exists():
        raise InputError(f"output_dir {folder} holds no run to resume; leave out --resume")


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"output_dir {folder} cannot be written: {reason(error)}") from None


def _prepare(folder: Path, output: OutputConfig, run: dict[str, Any]) -> None:
    if output.resume:
        _check_resumable(folder, output, run)
        return
    found = [name for name in MADE_BY_A_RUN if (folder / name).exists()]
    if SETTINGS in found and output.overwrite_output_dir:
        _remove_run(folder)
    elif SETTINGS in found and RESULTS in found:
        raise InputError(_finished(folder, output))
    elif SETTINGS in found:
        raise InputError(
            f"output_dir {folder} holds an unfinished run; pass --resume to continue it or "
            "--overwrite_output_dir to replace it"
        )
    elif found:
        raise InputError(
            f"output_dir {folder} holds {found[0]}, which no run of ours made; "
            "name another directory"
        )
    _remove_drafts(folder)
    _write_settings(folder, run)  # first: it marks a directory as a run's
    write_json(folder / START, run)


def _write_settings(folder: Path, run: dict[str, Any]) -> None:
    with replacing(folder / SETTINGS) as temporary:
        temporary.write_text(yaml.safe_dump(run["settings"], sort_keys=False), encoding="utf-8")


def read_settings(folder: Path) -> dict[str, Any]:
    """Read the settings of the run that made ``folder``; nothing where there are none."""
    path = folder / SETTINGS
    if not path.exists():
        return {}
    return read_settings_file(path, "settings")


def _finished(folder: Path, output: OutputConfig) -> str:
    if not output.resume:
        return (
            f"output_dir {folder} holds a finished run; pass --overwrite_output_dir to replace it"
        )
    return (
        f"output_dir {folder} holds a finished run; there is nothing to resume; to train its model "
        "on, name it in --model_name_or_path, with another --output_dir"
    )


def _check_resumable(folder: Path, output: OutputConfig, run: dict[str, Any]) -> None:
    if (folder / RESULTS).exists():
        _remove_checkpoints(folder)  # a kill after the results were written leaves them
        raise InputError(_finished(folder, output))
    before = run  # what a kill in the first moment leaves: there is nothing to go on from
    if (folder / START).exists():
        before = read_json(folder / START, "start of the run")
    changed = [*changed_settings(read_settings(folder), run), *changed_inputs(before, run)]
    if changed:
        raise InputError(
            f"resume needs the settings of the run in {folder}: {'; '.join(changed)}; "
            "set them back, or begin anew with --overwrite_output_dir"
        )
    _remove_drafts(folder)
    _write_settings(folder, run)  # paths may lead here from another directory than at the start
    if before is run:
        write_json(folder / START, run)
    for change in changed_surroundings(before, run):
        logger.warning("%s: the result may differ in rounding", change)


def _remove_drafts(folder: Path) -> None:
    """Remove the temporary files that a killed run left."""
    for name in (*MADE_BY_A_RUN, LOCK):
        for draft in folder.glob(f".{name}.*.tmp"):
            draft.unlink(missing_ok=True)


def _remove_checkpoints(folder: Path) -> None:
    from ofa_bert.checkpointing import Checkpoints

    Checkpoints(folder / CHECKPOINTS).clear()


def _remove_run(folder: Path) -> None:
    """Remove what a run makes, by name, and nothing else; its mark last."""
    _remove_checkpoints(folder)
    for name in sorted(MADE_BY_A_RUN, key=lambda name: name == SETTINGS):
        if name != CHECKPOINTS:
            (folder / name).unlink(missing_ok=True)
