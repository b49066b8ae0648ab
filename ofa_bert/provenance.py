"""Which files a run was made of, so that it can be made again and compared."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofa_bert.checkpoint.weights import READERS
from ofa_bert.data.tasks import find_task, is_task
from ofa_bert.durable import sha256

MODEL_FILES = (
    "config.json",
    "model_config.json",
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    *READERS,
)


def input_hashes(settings: Mapping[str, Any]) -> dict[str, str]:
    """Give the SHA-256 of every file that a training run of these settings reads, by path.

    Of what comes from a hub nothing is told; settings that are missing name nothing.
    """
    found = [path for path in _input_files(settings) if path.is_file()]
    return {str(path): sha256(path) for path in found}


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Name what differs between two such tables, each as ``name: before, now``."""
    return [
        f"{name}: was {before.get(name, 'nothing')}, is {now.get(name, 'nothing')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def _input_files(settings: Mapping[str, Any]) -> list[Path]:
    model = settings.get("model_name_or_path", "")
    files = [Path(model, name) for name in MODEL_FILES] if os.path.isdir(model) else []
    if settings.get("data_dir") is not None and is_task(settings["task_name"]):
        task = find_task(settings["task_name"])
        names = [task.train_file, *task.dev_files.values()]
        return files + [Path(settings["data_dir"], name) for name in names]
    own = [settings.get("train_file"), settings.get("dev_file")]
    return files + [Path(name) for name in own if name is not None]
