"""The directory a run writes: what may stand there, and what is made of it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ofa_bert.arguments import checked, flags_of, resolved
from ofa_bert.checkpoint.files import write_json
from ofa_bert.config import DataConfig, OutputConfig
from ofa_bert.errors import InputError
from ofa_bert.metrics_log import MetricsLog
from ofa_bert.settings_file import read_settings_file

if TYPE_CHECKING:
    from ofa_bert.checkpointing import Checkpoints
    from ofa_bert.distributed import Ranks

RESULTS, SETTINGS, CHECKPOINTS, METRICS = (
    "results.json",
    "train_config.yaml",
    "checkpoints",
    "metrics.jsonl",
)
MADE_BY_A_RUN = (
    RESULTS,
    SETTINGS,
    CHECKPOINTS,
    METRICS,
    "config.json",
    "model.safetensors",
    "supernet.json",
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
)
HARMLESS = (
    "output_dir",
    "overwrite_output_dir",
    "resume",
    "logging_steps",
    "device",
    "n_gpu",
    "math_library",
    "log_level",
)
"""Settings that may change between start and resume without changing the result."""


@dataclass(frozen=True)
class RunFolder:
    """The output directory of a training run."""

    path: Path

    @property
    def checkpoints(self) -> Checkpoints:
        """Checkpoints while it trains."""
        from ofa_bert.checkpointing import Checkpoints

        return Checkpoints(self.path / CHECKPOINTS)

    @property
    def metrics_log(self) -> MetricsLog:
        """The lines of loss and speed."""
        return MetricsLog(self.path / METRICS)

    def finish(self, results: dict[str, Any]) -> None:
        """Write the results, which mark the run as finished, and drop the checkpoints."""
        write_json(self.path / RESULTS, results)
        self.checkpoints.clear()


def open_run_folder(output: OutputConfig, configs: Sequence[Any], ranks: Ranks) -> RunFolder:
    """Make ready the output directory of a training run and note its settings there.

    Args:
        output: the directory, and what to do with what stands there.
        configs: all settings of the run; those that shape the result must be those of the run
            that is resumed.
        ranks: only the main process looks and writes.

    Raises:
        InputError: if a finished or unfinished run stands there and the user did not say what to
            do with it, if there is nothing to resume, or if a setting differs from it.
    """
    folder = Path(output.output_dir)
    if ranks.is_main:
        _prepare(folder, output, resolved(configs))
    if ranks.size > 1:
        from ofa_bert.distributed import wait_for_all

        # Another process must not resume from what the main one is about to remove.
        wait_for_all(ranks)
    return RunFolder(folder)


def _prepare(folder: Path, output: OutputConfig, settings: dict[str, Any]) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"output_dir {folder} is a file; name a directory")
    source = settings.get("model_name_or_path")
    if source and folder.resolve() == Path(source).resolve():
        raise InputError(
            f"output_dir must not be the directory of the model; got {folder} for both; "
            "name another directory"
        )
    if output.resume:
        _check_resumable(folder, settings)
        return
    found = [name for name in MADE_BY_A_RUN if (folder / name).exists()]
    if SETTINGS in found and output.overwrite_output_dir:
        _remove_run(folder)
    elif SETTINGS in found and RESULTS in found:
        raise InputError(
            f"output_dir {folder} holds a finished run; pass --overwrite_output_dir to replace it"
        )
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SETTINGS).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise InputError(f"output_dir {folder} cannot be written: {error.strerror}") from None


def read_settings(folder: Path) -> dict[str, Any]:
    """Read the settings of the run that made ``folder``; nothing where there are none."""
    path = folder / SETTINGS
    if not path.exists():
        return {}
    return read_settings_file(path, "settings")


def data_settings(directory: str | Path) -> dict[str, Any]:
    """Give the data settings of the run that made ``directory``, to stand below the flags."""
    settings = read_settings(Path(directory))
    names = [field.name for field in dataclasses.fields(DataConfig)]
    values = {name: settings[name] for name in names if name in settings}
    return checked(values, flags_of(DataConfig), f"settings {Path(directory) / SETTINGS}")


def _check_resumable(folder: Path, settings: dict[str, Any]) -> None:
    if (folder / RESULTS).exists():
        raise InputError(f"output_dir {folder} holds a finished run; there is nothing to resume")
    if not (folder / SETTINGS).exists():
        raise InputError(f"output_dir {folder} holds no run to resume; leave out --resume")
    before = read_settings(folder)
    changed = [
        f"{name} was {before.get(name)}, is {value}"
        for name, value in settings.items()
        if name not in HARMLESS and before.get(name) != value
    ]
    if changed:
        raise InputError(
            f"resume needs the settings of the run in {folder}: {'; '.join(changed)}; set them back"
        )


def _remove_run(folder: Path) -> None:
    """Remove what a run makes, by name, and nothing else."""
    for name in MADE_BY_A_RUN:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
