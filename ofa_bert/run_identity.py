"""What a run starts from, and what may differ when it goes on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ofa_bert import runtime
from ofa_bert.arguments import resolved
from ofa_bert.deploy import versions

if TYPE_CHECKING:
    from ofa_bert.distributed import Ranks

HARMLESS = (
    "model_name_or_path",
    "data_dir",
    "train_file",
    "dev_file",
    "output_dir",
    "overwrite_output_dir",
    "resume",
    "keep_checkpoints",
    "logging_steps",
    "device",
    "n_gpu",
    "math_library",
    "log_level",
)
"""Settings that may change between start and resume without changing the result.

What is read from the first four is compared itself. Another device or math library rounds
differently, which is a warning; another number of processes makes larger steps, and is refused.
"""

NOT_OF_THE_RUN = {"overwrite_output_dir": False, "resume": None}
"""Settings that say what to do with what stands there: noted of no run, as not given.

``--config`` of a run's own settings, with ``--resume``, must continue it.
"""

PACKAGES = ("numpy", "tokenizers", "safetensors", "scikit-learn", "scipy")
"""What has a say in the numbers, beside paddle."""


def environment() -> dict[str, str]:
    """Give what decides about the bits of a result beside settings and files."""
    import paddle

    from ofa_bert.distributed import launched_ranks

    return {
        "python": platform.python_version(),
        **versions(),
        **{name: metadata.version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": runtime.processor_name(),
        "runtime": runtime.describe(),
        "device": paddle.device.get_device().partition(":")[0],
        "processes": str(launched_ranks().size),
    }


def decisive(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Give the settings that decide the result; those that give the same one are the same here."""
    found = {name: value for name, value in settings.items() if name not in HARMLESS}
    if found.get("teacher_cache", "none") != "none":
        found["teacher_cache"] = "kept"  # wherever: the answers are the same bits
    return found


def describe_run(configs: Sequence[Any], inputs: Mapping[str, str], ranks: Ranks) -> dict[str, Any]:
    """Say what a run starts from.

    Returns:
        JSON values; runs of the same ``id`` give the same result, but for rounding where
        ``environment`` differs. Relative paths among the settings begin at ``started_in``.
    """
    settings = resolved(configs)
    settings |= {name: value for name, value in NOT_OF_THE_RUN.items() if name in settings}
    identity = json.dumps([decisive(settings), dict(inputs), ranks.size], sort_keys=True)
    return {
        "id": hashlib.sha256(identity.encode()).hexdigest(),
        "processes": ranks.size,
        "inputs": dict(inputs),
        "environment": environment(),
        "settings": settings,
        # Bytes that are no UTF-8 cannot be written, and must not cost the results of a run.
        "started_in": os.getcwdb().decode("utf-8", "backslashreplace"),
    }


def changed_settings(before: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """Name the settings that decide the result and are not those of ``before``."""
    was, now = decisive(before), decisive(run["settings"])
    return [
        f"{name} was {before.get(name)}, is {run['settings'][name]}"
        for name, value in now.items()
        if was.get(name) != value
    ]


def changed_inputs(before: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """Name what is read, or shared among processes, otherwise than by the run ``before``."""
    changed = []
    if before.get("processes") != run["processes"]:
        changed.append(f"processes were {before.get('processes')}, are {run['processes']}")
    known = before.get("inputs")
    for name, fingerprint in run["inputs"].items():
        if not isinstance(known, dict) or known.get(name) != fingerprint:
            changed.append(f"{name} ({_origin(name, run['settings'])}) changed since the start")
    return changed


def changed_surroundings(before: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """Say which versions, processor, threads or kernels are not those of the run ``before``."""
    known = before.get("environment")
    was = known if isinstance(known, dict) else {}
    return [
        f"the run began with {what} {was.get(what)} and goes on with {now}"
        for what, now in run["environment"].items()
        if was.get(what) != now
    ]


def _origin(name: str, settings: Mapping[str, Any]) -> str:
    """Say where an input was read from."""
    places = {
        "model": "model_name_or_path",
        "tokenizer": "model_name_or_path",
        "labels": "train_file",
        "training rows": "train_file",
    }
    place = settings.get(places.get(name, "dev_file")) or settings.get("data_dir")
    return str(place or settings.get("task_name"))
