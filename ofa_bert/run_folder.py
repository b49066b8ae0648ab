"""The directory a run writes: what may stand there, and what is made of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ofa_bert.arguments import resolved
from ofa_bert.config import OutputConfig
from ofa_bert.errors import InputError

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


def open_run_folder(output: OutputConfig, configs: Sequence[Any]) -> Path:
    """Make ready the output directory of a training run and note its settings there.

    Args:
        output: the directory, and what to do with what stands there.
        configs: all settings of the run; those that shape the result must be those of the run
            that is resumed.

    Raises:
        InputError: if a finished or unfinished run stands there and the user did not say what to
            do with it, if there is nothing to resume, or if a setting differs from it.
    """
    folder = Path(output.output_dir)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"output_dir {folder} is a file; name a directory")
    settings = resolved(configs)
    if output.resume:
        _check_resumable(folder, settings)
        return folder
    if output.overwrite_output_dir:
        _remove_run(folder)
    elif (folder / RESULTS).exists():
        raise InputError(
            f"output_dir {folder} holds a finished run; pass --overwrite_output_dir to replace it"
        )
    elif (folder / SETTINGS).exists():
        raise InputError(
            f"output_dir {folder} holds an unfinished run; pass --resume to continue it or "
            "--overwrite_output_dir to replace it"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SETTINGS).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise InputError(f"output_dir {folder} cannot be written: {error.strerror}") from None
    return folder


def _check_resumable(folder: Path, settings: dict[str, Any]) -> None:
    if (folder / RESULTS).exists():
        raise InputError(f"output_dir {folder} holds a finished run; there is nothing to resume")
    if not (folder / SETTINGS).exists():
        raise InputError(f"output_dir {folder} holds no run to resume; leave out --resume")
    before = yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8"))
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
