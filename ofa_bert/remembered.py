"""What a model's directory remembers of the run that made it, for the commands that follow."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_bert.arguments import checked, flags_of
from ofa_bert.checkpoint.files import read_json
from ofa_bert.checkpoint.model_config import CONFIG_FILE, read_model_config
from ofa_bert.config import DataConfig
from ofa_bert.run_folder import RESULTS, SETTINGS, START, read_settings

if TYPE_CHECKING:
    from ofa_bert.data.encoded import EncodedDataset

PATHS = ("model_name_or_path", "data_dir", "train_file", "dev_file")
"""Settings that name what a run reads."""


def data_settings(directory: str | Path, typed: DataConfig | None = None) -> dict[str, Any]:
    """Give the data settings of the run that made ``directory``, to stand below the flags.

    Of a sub-model, which no run made, they are the task and the length in its config.json.
    Relative paths are those of where the run was started: see ``found_again``.

    Args:
        directory: of the model.
        typed: what the flags say; where they name rows, the run's own are left out.

    Raises:
        InputError: if the settings or the config cannot be read.
    """
    folder = Path(directory)
    settings = read_settings(folder) or _settings_of_model(folder)
    names = [field.name for field in dataclasses.fields(DataConfig)]
    values = {name: settings[name] for name in names if name in settings}
    values = checked(values, flags_of(DataConfig), f"settings {folder / SETTINGS}")
    replaced = _replaced(values, typed or DataConfig())
    kept = {name: value for name, value in values.items() if name not in replaced}
    return found_again(kept, _started_in(folder))


def found_again(settings: Mapping[str, Any], started_in: str) -> dict[str, Any]:
    """Give the settings of a run with paths that lead from here to what it read.

    A relative path began where the run was started, and another file may lie there from here. Only
    where it leads to nothing from there, as in a project that was moved, it begins here.

    Args:
        settings: of a run.
        started_in: the directory it was started in; empty where it does not say.
    """
    found = dict(settings)
    for name in PATHS:
        there = os.path.join(started_in, found.get(name) or "")
        if found.get(name) and os.path.exists(there) and not _is_same(there, found[name]):
            found[name] = there
    return found


def changed_rows(directory: str | Path, dev: Mapping[str, EncodedDataset]) -> list[str]:
    """Name the development sets whose rows are not those the run in ``directory`` began with.

    None where it does not say: no run made the directory.

    Raises:
        InputError: if what it began with cannot be read.
    """
    path = Path(directory) / START
    inputs = read_json(path, "start of the run").get("inputs") if path.exists() else None
    before = inputs if isinstance(inputs, dict) else {}
    known = {name: before.get(f"{name} rows") for name in dev}
    return [name for name, was in known.items() if was and was != dev[name].fingerprint()]


def _is_same(there: str, here: str) -> bool:
    return os.path.exists(here) and os.path.samefile(there, here)


def _started_in(folder: Path) -> str:
    path = folder / RESULTS
    place = read_json(path, "results").get("started_in") if path.exists() else None
    return place if isinstance(place, str) else ""


def _settings_of_model(folder: Path) -> dict[str, Any]:
    if not (folder / CONFIG_FILE).is_file():
        return {}
    config = read_model_config(folder)
    known = {"task_name": config.task_name, "max_seq_length": config.max_seq_length}
    return {name: value for name, value in known.items() if value is not None}


def _replaced(values: Mapping[str, Any], typed: DataConfig) -> tuple[str, ...]:
    """Name the settings of a run that do not go with the rows that are typed."""
    if typed.train_file is not None or typed.dev_file is not None:
        return ("data_dir",)
    if typed.data_dir is not None and values.get("data_dir") is None:
        return ("train_file", "dev_file", "text_columns", "label_column")
    return ()
