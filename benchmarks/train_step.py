"""Seconds of one training step of all widths: ours, and the predecessor's recipe.

Same network, same batches, same widths, same optimizer, in processes of their own that take turns;
once more on the same rows in the predecessor's own batches, drawn at random and padded to their
longest. First, without dropout, each gives the losses of one batch: they must agree. Then it says
where our own step goes, and how far it is from the time of its matrix products alone.

    python -m benchmarks.train_step [--model minilm] [--rounds 3] [--steps 2] [--only predecessor]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmarks import harness
from benchmarks.harness import Child, Result, Row

PREPARE = "OFA_BENCHMARK_PREPARE"
"""Set in a process that is to have our threads, math library, allocator and view settings."""
OURS = "ours"
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Contender:
    """A recipe, the environment of its process, and which batches it trains on."""

    recipe: str
    environment: Mapping[str, str | None]
    batches: str = "similar"
    """Of rows of ``similar`` length, as our loader makes them, or ``random`` ones."""


ALL_SETTINGS: dict[str, str | None] = {PREPARE: "1"}
TWO_THREADS = {**harness.without_settings(), "MKL_NUM_THREADS": "2"}
AS_IT_COMES = harness.without_settings()
CONTENDERS = {
    OURS: Contender("Ours", ALL_SETTINGS),
    "predecessor, all our settings": Contender("Theirs", ALL_SETTINGS),
    "predecessor, two threads": Contender("Theirs", TWO_THREADS),
    "predecessor as it comes": Contender("Theirs", AS_IT_COMES),
    "its own batches, all our settings": Contender("Theirs", ALL_SETTINGS, "random"),
    "its own batches, two threads": Contender("Theirs", TWO_THREADS, "random"),
    "its own batches, as it comes": Contender("Theirs", AS_IT_COMES, "random"),
}


def main() -> None:
    """Compare, then say where our own step goes."""
    options = parse()
    if options.child:
        harness.serve(make_child(options))
        return
    agreement = check_losses(options)
    result = compare(options)
    note = f"Losses of both recipes on one batch without dropout agree to {agreement:.1e}."
    harness.report(replace(result, notes=[note, *result.notes]))
    harness.report(break_down(options))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="minilm", help="minilm, bert-base or tiny")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="steps of a turn")
    parser.add_argument("--only", default="", help="recipes whose name holds this, and ours")
    parser.add_argument("--child", choices=("Ours", "Theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--batches", default="similar", help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(options: argparse.Namespace) -> Result:
    """Let the contenders take turns."""
    steps: dict[str, list[Step]] = {}
    facts, notes = {}, []
    for turn in range(options.rounds):
        for name in chosen(options.only) if turn == 0 else list(steps):
            try:  # one process at a time: all together would not fit into memory
                with start(options, CONTENDERS[name]) as child:
                    child.ask(what="steps", count=1)  # warms up
                    taken = child.ask(what="steps", count=options.steps)
                    facts[name] = child.ask(what="facts")
                steps[name] = [*steps.get(name, []), *(Step(*step) for step in taken)]
            except harness.ChildError as error:
                notes.append(f"Left out: {name}: {error}")
                steps.pop(name, None)
    rows = [row_of(name, steps, facts) for name in steps]
    name = harness.name_of("train_step", options.model)
    return Result(name, settings_of(options), rows, machine(), notes)


def chosen(only: str) -> list[str]:
    """Give the contenders whose name holds ``only``, and ours."""
    return [name for name in CONTENDERS if name == OURS or only in name]


@dataclass(frozen=True)
class Step:
    """One timed step."""

    seconds: float
    tokens: int
    """Of the batch, padding left out."""

    @property
    def seconds_a_token(self) -> float:
        """Give what batches of several lengths are compared by."""
        return self.seconds / self.tokens


def row_of(name: str, steps: Mapping[str, list[Step]], facts: Mapping[str, Row]) -> Row:
    """Lay out what one contender did, beside ours, token for token."""
    own, ours = (harness.summary([s.seconds_a_token for s in steps[n]]) for n in (name, OURS))
    return {
        "recipe": name,
        **harness.summary([step.seconds for step in steps[name]]),
        "times ours": own["median s"] / ours["median s"],
        "times ours (min)": own["min s"] / ours["min s"],
        "tokens/s": 1 / own["median s"],
        "peak MB": facts[name]["peak MB"],
        "our memory over it": facts[OURS]["peak MB"] / facts[name]["peak MB"],
        "settings": facts[name]["runtime"],
    }


def break_down(options: argparse.Namespace) -> Result:
    """Say where our step goes, and how far it is from its matrix products."""
    with start(options, CONTENDERS[OURS]) as child:
        child.ask(what="steps", count=1)
        found = child.ask(what="parts", count=max(3, options.steps * options.rounds))
    step = statistics.median(run["step"] for run in found["runs"])
    parts = {
        name: statistics.median(run[name] for run in found["runs"]) for name in found["runs"][0]
    }
    floor = found["gflop"] / found["gflop_per_s"]
    rows = [
        {"part": name, "s": value, "of the step": value / step}
        for name, value in [*parts.items(), ("floor", floor)]
    ]
    note = (
        f"Floor: {found['gflop']:.0f} GFLOP of matrix products at {found['gflop_per_s']:.0f} "
        f"GFLOP/s, measured in this process. The step takes {step / floor:.2f} times that."
    )
    name = harness.name_of("train_step", options.model, "parts")
    return Result(name, settings_of(options), rows, machine(), [note])


def check_losses(options: argparse.Namespace) -> float:
    """Compare the losses of both recipes; give the largest difference."""
    with (
        start(options, CONTENDERS[OURS]) as ours,
        start(options, Contender("Theirs", ALL_SETTINGS)) as theirs,
    ):
        pairs = zip(ours.ask(what="losses"), theirs.ask(what="losses"), strict=True)
        largest = max(abs(a - b) for a, b in pairs)
    if largest > TOLERANCE:
        sys.exit(f"the recipes do not compute the same: their losses differ by {largest:.1e}")
    return largest


def start(options: argparse.Namespace, contender: Contender) -> Child:
    """Start a contender's process."""
    arguments = ["--child", contender.recipe, "--batches", contender.batches]
    arguments += ["--model", options.model, "--batch_size", str(options.batch_size)]
    return Child("benchmarks.train_step", *arguments, environment=contender.environment)


def settings_of(options: argparse.Namespace) -> Row:
    """Say what was asked for."""
    return {name: getattr(options, name) for name in ("model", "batch_size", "rounds", "steps")}


def machine() -> Row:
    """Name what the figures depend on."""
    return harness.machine("paddlenlp", "paddleslim", "numpy")


def make_child(options: argparse.Namespace):
    """Give the function that answers in a contender's process."""
    from ofa_bert import runtime

    if os.environ.get(PREPARE):
        runtime.prepare()
    else:
        import paddle  # noqa: F401 - before our package could set anything
    from benchmarks import models, recipes, step_data

    recipe = getattr(recipes, options.child)
    model = models.load(options.model)[0]
    rows = step_data.dataset(model.config, options.batch_size)
    batches = step_data.BATCHES[options.batches](rows, options.batch_size)
    taken = 0
    contender = None

    def steps(count: int) -> list[tuple[float, int]]:
        nonlocal taken, contender
        contender = contender or recipe(model, options.batch_size)
        found = []
        for _ in range(count):
            batch = batches[taken % len(batches)]
            began = time.perf_counter()
            contender.step(batch)
            found.append((time.perf_counter() - began, batch.step_tokens))
            taken += 1
        return found

    def parts(count: int) -> Row:
        runs = [contender.parts_of_step(batches[number % len(batches)]) for number in range(count)]
        work = [contender.gflop_of_step(batches[number % len(batches)]) for number in range(count)]
        rate = recipes.matrix_gflop_per_s()
        return {"runs": runs, "gflop": statistics.median(work), "gflop_per_s": rate}

    def losses() -> list[float]:
        without_dropout = step_data.without_dropout(model)
        batch = step_data.unpadded_batch(model.config, options.batch_size)
        return recipes.without_first(recipe(without_dropout, options.batch_size).step(batch))

    def facts() -> Row:
        return {"peak MB": round(harness.peak_memory_mb()), "runtime": runtime.describe()}

    requests = {"steps": steps, "parts": parts, "losses": losses, "facts": facts}
    return lambda what, **arguments: requests[what](**arguments)


if __name__ == "__main__":
    main()
