"""What each thing that makes a training step fast is worth: the step with it, and without it.

Every variant runs in a process of its own; they take turns. The network has random weights.

    python -m benchmarks.tries [--model minilm] [--rounds 2] [--steps 2] [--only dropout]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from benchmarks import harness
from benchmarks.harness import Child, Result, Row

OURS = "ours"
# What is changed: variables of the environment, and the name of a change made to our code.
VARIANTS: dict[str, tuple[dict[str, str | None], str]] = {
    OURS: ({}, ""),
    "one thread (paddle's default)": ({"MKL_NUM_THREADS": "1"}, ""),
    "the math library's own choice of kernels": ({}, "math_library"),
    "strided views (paddle's default)": ({"FLAGS_use_stride_kernel": "1"}, ""),
    "memory handed back at each step (glibc's default)": (
        {"GLIBC_TUNABLES": "glibc.malloc.check=0"},
        "",
    ),
    "paddle's backward of linear layers": ({}, "linear"),
    "paddle's backward of LayerNorm": ({}, "layer_norm"),
    "paddle's dropout": ({}, "dropout"),
    "biases and row means broadcast": ({}, "spread"),
    "attention mask broadcast in every layer": ({}, "mask"),
    "teacher's answers kept (--teacher_cache memory)": ({}, "recorded"),
    "three of four widths (--schedule sandwich)": ({}, "sandwich"),
    "two of four widths (--schedule random-2)": ({}, "random-2"),
    "half of the rows on each core (not in the toolkit)": ({"MKL_NUM_THREADS": "1"}, "workers"),
}


def main() -> None:
    """Let the variants take turns and print the table."""
    options = parse()
    if options.child:
        harness.serve(make_child(options))
        return
    names = [name for name in VARIANTS if name == OURS or options.only in name]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    memory: dict[str, int] = {}
    for _ in range(options.rounds):
        for name in names:  # one process at a time: all together would not fit into memory
            with start(options, name) as child:
                child.ask(count=1)  # warms up
                found = child.ask(count=options.steps)
            seconds[name] += found["seconds"]
            memory[name] = found["peak MB"]
    ours = harness.summary(seconds[OURS])
    rows: list[Row] = []
    for name, values in seconds.items():
        summary = harness.summary(values)
        ratios = {
            "times ours": summary["median s"] / ours["median s"],
            "times ours (min)": summary["min s"] / ours["min s"],
        }
        rows.append({"variant": name, **summary, **ratios, "peak MB": memory[name]})
    settings = {name: getattr(options, name) for name in ("model", "batch_size", "steps", "rounds")}
    harness.report(
        Result(harness.name_of("tries", options.model), settings, rows, harness.machine("numpy"))
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="minilm", help="minilm, bert-base or tiny")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=2, help="steps of a turn")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="", help="variants whose name holds this, and ours")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def start(options: argparse.Namespace, name: str) -> Child:
    """Start the process of a variant."""
    arguments = ["--child", name, "--model", options.model]
    arguments += ["--batch_size", str(options.batch_size)]
    return Child("benchmarks.tries", *arguments, environment=VARIANTS[name][0])


def make_child(options: argparse.Namespace) -> Callable[[int], Row]:
    """Give the function that times steps in a variant's process."""
    from ofa_bert import runtime

    change = VARIANTS[options.child][1]
    runtime.prepare("default" if change == "math_library" else "auto")
    import paddle  # noqa: F401 - now: benchmarks.models prepares for it once more

    from benchmarks import models, step_data

    without_ours(change)
    model = models.load(options.model)[0]
    dataset = step_data.dataset(model.config, options.batch_size)
    batches = step_data.training_batches(dataset, options.batch_size)
    contender = make_contender(change, model, dataset, options.batch_size)
    taken = 0

    def steps(count: int) -> Row:
        nonlocal taken
        seconds = []
        for _ in range(count):
            began = time.perf_counter()
            contender.step(batches[taken % len(batches)])
            seconds.append(time.perf_counter() - began)
            taken += 1
        return {"seconds": seconds, "peak MB": round(harness.peak_memory_mb())}

    return steps


def make_contender(change: str, model: Any, dataset: Any, batch_size: int) -> Any:
    """Make what takes the steps of a variant."""
    from benchmarks import recipes, workers

    if change == "workers":
        return workers.Workers(model, batch_size)
    contender = recipes.Ours(model, batch_size)
    contender.train_as(dataset, change)
    return contender


def without_ours(change: str) -> None:
    """Put paddle's own way in the place of one of ours, in this process."""
    from ofa_bert.nn import dropout, encoder, layer_norm, linear

    own_kernels = {"linear": linear, "layer_norm": layer_norm, "dropout": dropout}
    if change in own_kernels:
        own_kernels[change].trains_on_cpu = lambda x: False
    if change == "spread":
        layer_norm.spread_column = lambda column, columns: column
        linear.spread_row = lambda row, shape: row
    if change == "mask":
        encoder._bias_of_layers = lambda bias, num_heads: [bias] * len(num_heads)


if __name__ == "__main__":
    main()
