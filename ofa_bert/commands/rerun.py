"""Run a training again from its results.json, into another directory, and compare the weights."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ofa_bert.arguments import build, checked, flags_of, parse_args, to_argv
from ofa_bert.checkpoint.files import read_json
from ofa_bert.command import set_up_logging
from ofa_bert.config import OutputConfig, setting
from ofa_bert.errors import CheckError, InputError
from ofa_bert.provenance import differences, input_hashes
from ofa_bert.remembered import found_again
from ofa_bert.rules import check_path
from ofa_bert.run_folder import RESULTS
from ofa_bert.run_identity import environment
from ofa_bert.safe_text import short

logger = logging.getLogger(__name__)

NAME = "python -m ofa_bert rerun RESULTS_JSON"
COMMANDS = {"finetune": "ofa_bert.commands.finetune", "run_glue_ofa": "run_glue_ofa"}
"""Module of each command that writes results.json."""


@dataclass(frozen=True)
class RerunConfig:
    """Where the run is made again."""

    output_dir: str | None = setting(
        None, help="directory for the new run; default: beside the old one, with _rerun"
    )
    log_level: str = setting(
        "info", help="how much to say; debug adds tracebacks", choices=("debug", "info", "warning")
    )

    def __post_init__(self) -> None:
        if self.output_dir is not None:
            check_path("output_dir", self.output_dir)


@dataclass(frozen=True)
class Run:
    """What results.json tells of a run."""

    command: str
    configs: list[Any]
    """All settings, as the command's own dataclasses."""
    environment: Mapping[str, str]
    inputs: Mapping[str, str]
    """SHA-256 of each file it read."""
    weights: str
    """SHA-256 of the weights it wrote."""


def main(argv: Sequence[str]) -> int:
    """Read the command line, run again, compare."""
    named = bool(argv) and not argv[0].startswith("-")
    (config,) = parse_args(NAME, __doc__ or "", [RerunConfig], argv[1:] if named else argv)
    if not named:
        raise InputError(f"the results of a run must be named first; type {NAME}")
    set_up_logging(config.log_level)
    path = Path(argv[0])
    run = read_run(path)
    output = Path(config.output_dir or f"{path.resolve().parent}_rerun")
    if output.resolve() == path.resolve().parent:
        raise InputError(
            f"output_dir must not be the directory of the first run; got {output} for both; "
            "name another directory"
        )
    return rerun(run, output)


def rerun(run: Run, output: Path) -> int:
    """Run a command again into ``output``.

    Raises:
        InputError: if something stands there, or the settings do not hold any more.
        CheckError: if the weights are others though versions, threads and files are the same.
    """
    configs = [
        replace(c, output_dir=str(output), overwrite_output_dir=False, resume=None)
        if isinstance(c, OutputConfig)
        else c
        for c in run.configs
    ]
    changed = _changes(run)
    for change in changed:
        logger.warning("this is not as it was, and may give other bits: %s", change)
    module = importlib.import_module(COMMANDS[run.command])
    code = module.main(to_argv(configs))
    if code:
        return code
    # Threads and kernels may only be known now.
    again = read_run(output / RESULTS)
    changed = changed or differences(run.environment, again.environment)
    if again.weights == run.weights:
        print("the weights are those of the first run, bit for bit")  # noqa: T201
        return 0
    if not changed:
        raise CheckError(
            f"the weights in {output} differ from those of the first run, though versions, "
            "threads, processes and files are the same"
        )
    print(f"the weights differ from those of the first run; so do: {'; '.join(changed)}")  # noqa: T201
    return 0


def read_run(path: Path) -> Run:
    """Read what a results.json tells of its run, with every setting checked.

    Relative paths are those of where the first run was started: see ``found_again``.

    Raises:
        InputError: if it is not as a run writes it.
    """
    results = read_json(path, "results")
    names = ("command", "settings", "started_in", "environment", "inputs", "weights_sha256")
    missing = [name for name in names if name not in results]
    if missing:
        raise InputError(
            f"results {path} must say {', '.join(missing)}; only those of finetune and "
            "run_glue_ofa.py do, from this version on"
        )
    command, settings, started_in, was, inputs, weights = (results[name] for name in names)
    if command not in COMMANDS:
        raise InputError(f"results {path}: unknown command {short(command)}")
    tables = (was, inputs)
    if not all(isinstance(t, dict) for t in (*tables, settings)) or not all(
        isinstance(text, str)
        for text in [started_in, weights, *(v for t in tables for v in t.values())]
    ):
        raise InputError(f"results {path} are not as a run writes them; nothing can be run again")
    groups = importlib.import_module(COMMANDS[command]).GROUPS
    known = {name: flag for group in groups for name, flag in flags_of(group).items()}
    values = found_again(checked(settings, known, f"results {path}"), started_in)
    return Run(command, build(groups, values), was, inputs, weights)


def _changes(run: Run) -> list[str]:
    """Name what differs from the first run before anything is run."""
    from ofa_bert import runtime

    device = run.configs[-1]
    runtime.prepare(device.math_library)
    surroundings = environment()
    kind, processes = runtime.choose_device(device.device, device.n_gpu)
    surroundings["device"] = kind.partition(":")[0]  # what paddle is about to be set to
    if processes > 1:
        surroundings["processes"] = str(processes)
    now = {name: value for config in run.configs for name, value in vars(config).items()}
    inputs = input_hashes(now)
    files = differences(by_name(run.inputs), by_name(inputs))
    return differences(run.environment, surroundings) + [f"file {change}" for change in files]


def by_name(inputs: Mapping[str, str]) -> dict[str, str]:
    """Give the hashes of files by their names alone, as they may lie elsewhere now."""
    found: dict[str, str] = {}
    for path, digest in inputs.items():
        name = Path(path).name
        found[name] = f"{found[name]} {digest}" if name in found else digest
    return found
