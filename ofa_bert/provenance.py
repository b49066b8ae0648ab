"""What a run was made with and of, so that it can be made again and compared."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from ofa_bert import runtime
from ofa_bert.checkpoint.weights import READERS
from ofa_bert.data.tasks import find_task, is_task
from ofa_bert.deploy import versions

PACKAGES = ("numpy", "tokenizers", "safetensors", "scikit-learn", "scipy")
"""What has a say in the numbers, beside paddle."""
MODEL_FILES = ("config.json", "model_config.json", "vocab.txt", "tokenizer.json", *READERS)


def environment() -> dict[str, str]:
    """Give what decides about the bits of a result beside settings and files."""
    return {
        "python": platform.python_version(),
        **versions(),
        **{name: metadata.version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": runtime.processor_name(),
        "runtime": runtime.describe(),
    }


def input_hashes(settings: Mapping[str, Any]) -> dict[str, str]:
    """Give the SHA-256 of every file that a training run of these settings reads, by path.

    Of what comes from a hub nothing is told.
    """
    found = [path for path in _input_files(settings) if path.is_file()]
    return {str(path): file_hash(path) for path in found}


def file_hash(path: Path) -> str:
    """Give the SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Name what differs between two such tables, each as ``name: before, now``."""
    return [
        f"{name}: was {before.get(name, 'nothing')}, is {now.get(name, 'nothing')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def _input_files(settings: Mapping[str, Any]) -> list[Path]:
    model = Path(settings["model_name_or_path"])
    files = [model / name for name in MODEL_FILES] if os.path.isdir(model) else []
    if settings["data_dir"] is not None and is_task(settings["task_name"]):
        task = find_task(settings["task_name"])
        names = [task.train_file, *task.dev_files.values()]
        return files + [Path(settings["data_dir"], name) for name in names]
    own = [settings["train_file"], settings["dev_file"]]
    return files + [Path(name) for name in own if name is not None]
