"""One epoch of all widths from a fine-tuned model: ours, and the predecessor's with our settings.

Wall time of scoring importance, one epoch and evaluating every width, with the process's start, and
the accuracy of every width. Ours is the command `run_glue_ofa.py`; the predecessor's scores
importance on the development set, as its example does.

    python -m benchmarks.epoch --task_name MRPC --model out/MRPC --data_dir ../shared/data/glue/MRPC
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import ROOT, Child, Result, Row

WIDTHS = ("1.0", "5/6", "2/3", "1/2")
EVALUATION_BATCH_SIZE = 64


def main() -> None:
    """Run both and print the table."""
    options = parse()
    if options.child:
        harness.serve(lambda: their_epoch(options))
        return
    rows, notes = [ours(options)], []
    try:
        rows.append(theirs(options))
    except harness.ChildError as error:
        notes.append(f"Left out: the predecessor: {error}")
    for row in rows:
        row["times ours"] = row["s"] / rows[0]["s"]
        row["our memory over it"] = rows[0]["peak MB"] / row["peak MB"]
    settings = {name: value for name, value in vars(options).items() if name != "child"}
    settings |= {name: Path(settings[name]).name for name in ("model", "data_dir")}
    machine = harness.machine("paddlenlp", "paddleslim", "numpy")
    name = harness.name_of("epoch", options.task_name)
    harness.report(Result(name, settings, rows, machine, notes))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task_name", required=True)
    parser.add_argument(
        "--model", required=True, help="directory of a model fine-tuned on the task"
    )
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--max_train_examples", type=int, default=-1)
    parser.add_argument("--learning_rate", type=float, default=2e-5)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def ours(options: argparse.Namespace) -> Row:
    """Run our command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "run_glue_ofa.py", "--n_gpu", "0", "--num_train_epochs", "1"]
        for name in ("task_name", "data_dir", "max_train_examples", "learning_rate", "batch_size"):
            command += [f"--{name}", str(getattr(options, name))]
        command += ["--model_name_or_path", options.model, "--output_dir", f"{folder}/out"]
        command += ["--width_mult_list", *WIDTHS, "--save_steps", "1000000"]
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        found = json.loads(Path(folder, "out", "results.json").read_text("utf-8"))
    accuracies = [scores["accuracy"] for scores in found["scores"].values()]
    return row_of("ours", seconds, found["peak_memory_mb"], accuracies)


def theirs(options: argparse.Namespace) -> Row:
    """Run the predecessor's recipe in a process with our threads, library and allocator."""
    start = time.perf_counter()
    with Child("benchmarks.epoch", "--child", *sys.argv[1:]) as child:
        answer = child.ask()
    seconds = time.perf_counter() - start
    return row_of("predecessor, all our settings", seconds, answer["peak MB"], answer["accuracy"])


def row_of(recipe: str, seconds: float, peak_mb: float, accuracies: list[float]) -> Row:
    """Lay out one run."""
    by_width = {f"at {width}": 100 * value for width, value in zip(WIDTHS, accuracies, strict=True)}
    return {"recipe": recipe, "s": seconds, "peak MB": peak_mb, **by_width}


def their_epoch(options: argparse.Namespace) -> Row:
    """Do what the predecessor's example does for one epoch."""
    from ofa_bert import runtime

    runtime.prepare()
    import numpy as np

    import ofa_bert as ofa
    from benchmarks import incumbent, recipes
    from ofa_bert.config import DataConfig, SourceConfig
    from ofa_bert.data.batches import make_batch

    data = DataConfig(
        options.task_name, options.data_dir, max_train_examples=options.max_train_examples
    )
    model, _, task = ofa.load_model_and_task(SourceConfig(options.model), data)
    contender = recipes.Theirs(model, options.batch_size)
    (rows,) = task.dev.values()
    dev = list(ofa.evaluation_batches(rows, EVALUATION_BATCH_SIZE))
    incumbent.score_and_reorder(contender.ofa, dev, model.config)
    contender.ofa.train()
    order = np.random.default_rng(0).permutation(len(task.train))
    for start in range(0, len(order), options.batch_size):
        contender.step(make_batch(task.train, order[start : start + options.batch_size]))
    accuracy = incumbent.evaluate(contender.ofa, dev, recipes.WIDTHS)
    return {"accuracy": accuracy, "peak MB": round(harness.peak_memory_mb())}


if __name__ == "__main__":
    main()
