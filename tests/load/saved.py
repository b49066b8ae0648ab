"""The directory of a saved model: what lies in it, and changes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file


def listing(directory: Path) -> dict[str, tuple[int, int]]:
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in directory.iterdir()}


def edit_weights(directory: Path, edit: Callable[[dict[str, np.ndarray]], Any]) -> None:
    arrays = load_file(directory / "model.safetensors")
    edit(arrays)
    save_file(arrays, directory / "model.safetensors")


def drop(*prefixes: str) -> Callable[[dict[str, np.ndarray]], None]:
    def edit(arrays: dict[str, np.ndarray]) -> None:
        for name in [name for name in arrays if name.startswith(prefixes)]:
            del arrays[name]

    return edit


def edit_config(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
