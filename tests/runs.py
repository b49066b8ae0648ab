"""Runs of the commands on a tiny model and a few lines, for tests of whole runs."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from ofa_bert.checkpoint.save import save_model
from ofa_bert.command import run_command
from tests.tiny import tiny_config, tiny_model, tiny_tokenizer, tiny_vocab

LABELS = ("bad", "good")
MAX_SEQ_LENGTH = 12
# What two runs that are the same need not agree on.
MEASURED = ("wall_seconds", "peak_memory_mb", "widths")
TIMED = ("seconds_per_step", "tokens_per_second")


@dataclass(frozen=True)
class Result:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


def run(main, argv):
    """Run a command in this process as its script does."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_command(main, argv)
    return Result(code, out.getvalue(), err.getvalue())


def write_base(folder: Path) -> None:
    """Write a model into ``base``, and train.tsv and dev.tsv of 26 and 11 rows."""
    model = tiny_model(tiny_config(num_classes=2, labels=LABELS, max_position_embeddings=20))
    save_model(model, folder / "base", tiny_tokenizer(folder / "base"))
    write_rows(folder / "train.tsv", 26, seed=1)
    write_rows(folder / "dev.tsv", 11, seed=2)


def write_rows(path: Path, count: int, seed: int) -> None:
    """Write labelled sentences under a header."""
    labels = np.random.default_rng(seed + 100).choice(LABELS, count)
    rows = zip(sentences(count, seed), labels, strict=True)
    lines = ["sentence\tlabel", *(f"{text}\t{label}" for text, label in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def sentences(count: int, seed: int) -> list[str]:
    """Give texts of 1 to 14 words; those above 10 are cut by ``MAX_SEQ_LENGTH``."""
    generator = np.random.default_rng(seed)
    words = tiny_vocab()[7:]
    return [" ".join(generator.choice(words, generator.integers(1, 15))) for _ in range(count)]


def flags(**values) -> list[str]:
    """Write a command line; None leaves a flag out."""
    argv = []
    for name, value in values.items():
        if value is not None:
            items = () if value is True else value if isinstance(value, tuple) else (value,)
            argv += [f"--{name}", *map(str, items)]
    return argv


def data_flags(folder, **changes) -> dict:
    """Give the flags of the rows of ``write_base``, and those of a quiet run on the CPU."""
    return {
        "task_name": "own",
        "train_file": folder / "train.tsv",
        "dev_file": folder / "dev.tsv",
        "text_columns": "sentence",
        "label_column": "label",
        "max_seq_length": MAX_SEQ_LENGTH,
        "n_gpu": 0,
        "log_level": "warning",
        **changes,
    }


def finetune_argv(folder, output, **changes) -> list[str]:
    """Give the command line of 6 steps on the files of ``write_base``."""
    return ["finetune", *_training(folder, folder / "base", output, **changes)]


def ofa_argv(folder, output, **changes) -> list[str]:
    """Give the flags of run_glue_ofa.py on the teacher that ``finetune_argv`` trains."""
    widths = {"width_mult_list": ("1.0", "1/2")}
    return _training(folder, folder / "teacher", output, **{**widths, **changes})


def export_argv(supernet, output, **changes) -> list[str]:
    """Give the flags of export_model.py for the widest sub-network, without a graph."""
    values = {
        "model_name_or_path": supernet,
        "sub_model_output_dir": output,
        "n_gpu": 0,
        "log_level": "warning",
    }
    return flags(**{**values, **changes})


def _training(folder, model, output, **changes) -> list[str]:
    values = {
        "model_name_or_path": model,
        "output_dir": output,
        "batch_size": 5,
        "learning_rate": 1e-3,
        "num_train_epochs": 1,
        "logging_steps": 2,
        "save_steps": 4,
    }
    return flags(**{**data_flags(folder), **values, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    """Give every file below a folder."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def comparable(folder):
    """Everything a run wrote, without what it measured: times, memory and its own place."""
    found = contents(folder)
    results = json.loads(found.pop("results.json"))
    # The graph's file holds names with the number of layers this process has made.
    measured = {"latency_ms": None, "file_bytes": None}
    widths = [{**row, **measured} for row in results.get("widths", [])]
    lines = [json.loads(line) for line in found.pop("metrics.jsonl").splitlines()]
    for name in ("settings", "started_in"):
        results.pop(name)
    settings = yaml.safe_load(found.pop("train_config.yaml"))
    settings.pop("output_dir")
    start = json.loads(found.pop("run.json"))
    start["settings"].pop("output_dir")
    start.pop("started_in")
    return {
        **found,
        "settings": settings,
        "start": start,
        "results": {k: v for k, v in results.items() if k not in MEASURED} | {"widths": widths},
        "metrics": [{k: v for k, v in line.items() if k not in TIMED} for line in lines],
    }
