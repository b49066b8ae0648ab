"""What the settings of ofa_bert/runtime.py do for a training step on this machine.

Times OFA steps of a MiniLM-shaped network with random weights (32 texts of 53 tokens, four widths,
dropout 0.1), each setting in a process of its own, in turn: A B C A B C. ``times ours`` is the
median over that of our settings.

    python -m benchmarks.step_settings [--steps 2] [--rounds 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
from contextlib import ExitStack
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import Child
from ofa_bert import runtime

# What differs from our settings: the environment, and the work's own.
SETTINGS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "ours": ({}, {}),
    "strided views (paddle's default)": ({"FLAGS_use_stride_kernel": "1"}, {}),
    "MKL's own choice of kernels": ({}, {"math_library": "default"}),
    "one thread (paddle's default)": ({"MKL_NUM_THREADS": "1"}, {}),
}


def main(argv: list[str] | None = None) -> None:
    """Time every setting and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=2, help="steps of a turn")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each setting")
    parser.add_argument("--work", default="{}", help="JSON: what differs in benchmarks.steps.Work")
    parser.add_argument("--output", type=Path, help="JSON file; default: in benchmarks/results")
    options = parser.parse_args(argv)
    with ExitStack() as stack:
        children = {}
        for name, (environment, more) in SETTINGS.items():
            work = json.dumps({**json.loads(options.work), **more})
            variables = {**harness.without_settings(), **environment}
            children[name] = stack.enter_context(
                Child("benchmarks.steps", work, environment=variables)
            )
            children[name].ask()
        seconds = harness.in_turns(children, options.rounds, steps=options.steps)
    ours = statistics.median(seconds["ours"])
    result = harness.Result(
        benchmark="step_settings",
        settings={
            "cores": runtime.usable_cores(),
            "work": options.work,
            "steps": options.steps,
            "rounds": options.rounds,
        },
        rows=[
            {
                "setting": name,
                **harness.summary(values),
                "times ours": statistics.median(values) / ours,
            }
            for name, values in seconds.items()
        ],
        machine=harness.machine(),
        notes=harness.busy_note(),
    )
    harness.report(result, options.output)


if __name__ == "__main__":
    main()
