"""How a training step grows: with width, depth, length, batch, widths and processes.

Each point is a process of its own, so that its peak memory is its own. ``exponent`` is the slope
of log(median s) over log(value), fitted to the points of an axis; ``memory exponent`` that of the
memory above that of a process whose step does next to nothing.

    python -m benchmarks.scaling [--base '{"layers": 2}']
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import Child, ChildError, Row
from benchmarks.steps import Work
from ofa_bert import runtime

WIDTHS = (1.0, 5 / 6, 2 / 3, 1 / 2, 1 / 3, 1 / 4)
BASE = Work(rows=16, length=64, widths=(1.0,))
IDLE = Work(layers=1, hidden=12, heads=1, rows=1, length=4, widths=(1.0,))
AXES: dict[str, list[tuple[float, dict[str, Any]]]] = {
    "width": [(width, {"widths": (width,)}) for width in (0.25, 0.5, 0.75, 1.0)],
    "layers": [(layers, {"layers": layers}) for layers in (3, 6, 12)],
    "length": [(length, {"length": length}) for length in (32, 64, 128, 256)],
    "batch": [(rows, {"rows": rows}) for rows in (8, 16, 32, 64)],
    "widths": [(count, {"widths": WIDTHS[:count]}) for count in (1, 2, 4, 6)],
}
"""Values of each axis, and what they change of the base."""


def main(argv: list[str] | None = None) -> None:
    """Time every point and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--base", default="{}", help="JSON: what differs in the base's Work")
    parser.add_argument("--axes", nargs="+", choices=[*AXES, "processes"], default=None)
    parser.add_argument("--steps", type=int, default=4, help="steps timed at each point")
    parser.add_argument("--output", type=Path, help="JSON file; default: in benchmarks/results")
    options = parser.parse_args(argv)
    base = dataclasses.replace(BASE, **json.loads(options.base))
    rows: list[Row] = []
    notes: list[str] = []
    for axis in options.axes or [*AXES, "processes"]:
        if axis == "processes":
            rows += processes(base, notes)
        else:
            rows += points(axis, base, options.steps)
    result = harness.Result(
        benchmark="scaling",
        settings={
            "cores": runtime.usable_cores(),
            "base": json.dumps(dataclasses.asdict(base)),
            "steps": options.steps,
        },
        rows=rows,
        machine=harness.machine(),
        notes=[*notes, *harness.busy_note()],
    )
    harness.report(result, options.output)


def points(axis: str, base: Work, steps: int) -> list[Row]:
    """Time the points of an axis, and fit its exponents."""
    values, seconds, memory = [], [], []
    idle = idle_memory_mb()
    for value, changes in AXES[axis]:
        work = json.dumps(dataclasses.asdict(dataclasses.replace(base, **changes)))
        with Child("benchmarks.steps", work, environment=harness.without_settings()) as child:
            seconds.append(child.ask(steps=steps))
            memory.append(child.ask())
        values.append(value)
    medians = [statistics.median(taken) for taken in seconds]
    rows = [
        row(axis, value, taken, peak)
        for value, taken, peak in zip(values, seconds, memory, strict=True)
    ]
    rows[-1]["exponent"] = exponent(values, medians)
    above_idle = [peak - idle for peak in memory]
    # Steps as small as a test's hold no more than the idle process.
    rows[-1]["memory exponent"] = exponent(values, above_idle) if min(above_idle) > 0 else None
    return rows


def row(axis: str, value: float, seconds: Sequence[float], peak_mb: float) -> Row:
    """Give a row of the table; the last one of an axis gets its exponents."""
    return {
        "axis": axis,
        "value": value,
        **harness.summary(seconds),
        "peak MB": peak_mb,
        "exponent": None,
        "memory exponent": None,
    }


def exponent(values: Sequence[float], results: Sequence[float]) -> float:
    """Fit ``results = c * values ** exponent`` by least squares of the logarithms."""
    xs, ys = ([math.log(number) for number in numbers] for numbers in (values, results))
    return statistics.linear_regression(xs, ys).slope


def processes(work: Work, notes: list[str]) -> list[Row]:
    """Time one and two data-parallel processes on the same rows, with the cores divided."""
    rows = []
    for count in (1, 2):
        try:
            answer = launch(work, count)
        except ChildError as error:
            notes.append(f"Left out: {count} processes ({error}).")
            continue
        rows.append(row("processes", count, answer["seconds"], answer["peak MB"]))
    return rows


def launch(work: Work, count: int) -> dict[str, Any]:
    """Time steps in ``count`` processes; seconds and peak memory are the main one's.

    Raises:
        ChildError: if a process fails.
    """
    threads = max(1, runtime.usable_cores() // count)
    environment = {**os.environ, "MKL_NUM_THREADS": str(threads)}
    script = str(harness.ROOT / "benchmarks" / "steps.py")
    with tempfile.TemporaryDirectory(prefix="ofa_bert_scaling_") as directory:
        path = Path(directory, "answer.json")
        command = [sys.executable, script]
        if count > 1:
            command = [sys.executable, "-m", "paddle.distributed.launch"]
            command += ["--nproc_per_node", str(count), "--log_dir", directory, script]
        command += [json.dumps(dataclasses.asdict(work)), str(path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if not path.exists():
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise ChildError(lines[-1] if lines else f"exit code {done.returncode}")
        return json.loads(path.read_text())


def idle_memory_mb() -> float:
    """Give the peak memory of a process whose step does next to nothing."""
    work = json.dumps(dataclasses.asdict(IDLE))
    with Child("benchmarks.steps", work, environment=harness.without_settings()) as child:
        return child.ask()


if __name__ == "__main__":
    main()
