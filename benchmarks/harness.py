"""What the benchmarks share: timing in turns, processes of their own, one table, one JSON file.

Needs no paddle. Engines that are compared run in processes of their own, because each brings its
own environment and threads that go on spinning for a while after the work; the processes take
turns, A B A B, so that what else the machine does falls on all of them alike.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from ofa_bert import runtime
from ofa_bert.report import markdown_table

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
CPU_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
RUNTIME_VARIABLES = (
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_DEBUG_CPU_TYPE",
    "FLAGS_use_stride_kernel",
    "GLIBC_TUNABLES",
)
"""What decides how fast a program runs on paddle; a peer 'as it comes' has none of them set."""
SPIN_SECONDS = 0.3
"""Threads of Intel's OpenMP spin for 0.2 s after a parallel part, and would take a core."""

Row = dict[str, Any]


class ChildError(RuntimeError):
    """A process of a benchmark failed; says why in one line."""


# ---- one run and its file ------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """One run of one benchmark."""

    benchmark: str
    """Its name, also that of its JSON file."""
    settings: Row
    """What was asked for: model, shapes, runs."""
    rows: list[Row]
    """The table; all with the same keys, which are its header."""
    machine: Row
    """What ``machine()`` says."""
    notes: list[str] = field(default_factory=list)
    """E.g. which peers were missing."""

    def markdown(self) -> str:
        """Lay the run out: machine, settings, table, notes."""
        header = list(self.rows[0]) if self.rows else ["nothing was measured"]
        cells = [[format_cell(value) for value in row.values()] for row in self.rows]
        parts = [_line(self.machine), _line(self.settings), markdown_table(header, cells)]
        return "\n\n".join(part for part in [*parts, *self.notes] if part)


def report(result: Result, path: Path | None = None) -> None:
    """Print a run's table and write it as JSON, over any earlier run in that file."""
    path = path or RESULTS / f"{result.benchmark}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"{result.markdown()}\n", flush=True)


def read_result(path: Path) -> Result:
    """Read what ``report`` wrote."""
    return Result(**json.loads(path.read_text("utf-8")))


def combine(results: Sequence[Result]) -> Result:
    """Put the rows of runs of one benchmark into one table.

    Raises:
        ValueError: if they are of different benchmarks, settings or machines (libraries and
            commit included): such numbers do not compare.
    """
    first = results[0]
    for other in results[1:]:
        for name in ("benchmark", "settings", "machine"):
            ours, theirs = getattr(first, name), getattr(other, name)
            if ours != theirs:
                raise ValueError(
                    f"results must have the same {name} to stand in one table; "
                    f"got {ours} and {theirs}; run them again together"
                )
    rows = [row for result in results for row in result.rows]
    notes = list(dict.fromkeys(note for result in results for note in result.notes))
    return Result(first.benchmark, first.settings, rows, first.machine, notes)


def machine(*packages: str) -> Row:
    """Describe what a run depends on besides its settings.

    Args:
        packages: names of distributions whose versions count, besides paddle's.
    """
    names = ("paddlepaddle", "paddlepaddle-gpu", *packages)
    versions = {name: version for name in names if (version := installed(name))}
    return {
        "cpu": cpu_model(),
        "cores": runtime.usable_cores(),
        "python": platform.python_version(),
        **versions,
        "commit": _commit(),
    }


def busy_note() -> list[str]:
    """Give a note for the run that just ended if other programs ran beside it, else nothing."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load <= cores + 0.5:
        return []
    return [f"Other programs ran beside it: a load of {load:.1f} on {cores} cores at its end."]


def cpu_model(path: Path = Path("/proc/cpuinfo")) -> str:
    """Name the processor and those of its instructions that matter here."""
    try:
        pairs = [line.partition(":")[::2] for line in path.read_text().splitlines()]
    except OSError:
        return platform.processor() or "unknown"
    values = {name.strip(): value.strip() for name, value in reversed(pairs)}
    flags = set(values.get("flags", "").split())
    found = " ".join(flag for flag in CPU_FLAGS if flag in flags)
    return f"{values.get('model name', 'unknown')} ({found or 'none of the flags known here'})"


def installed(package: str) -> str | None:
    """Give the version of a distribution, or None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def format_cell(value: Any) -> str:
    """Write a value of a table: numbers to three digits, very small ones as powers of ten."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"


# ---- timing --------------------------------------------------------------------------------------


def time_runs(function: Callable[[], Any], runs: int, warmup: int = 1) -> list[float]:
    """Time calls of a function, in seconds, after some that are not timed."""
    seconds = []
    for run in range(warmup + runs):
        start = time.perf_counter()
        function()
        if run >= warmup:
            seconds.append(time.perf_counter() - start)
    return seconds


def time_in_turns(
    functions: Mapping[str, Callable[[], Any]], runs: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Time functions of this process in turn, A B A B, in seconds; see ``time_runs``."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for run in range(warmup + runs):
        for name, function in functions.items():
            (taken,) = time_runs(function, runs=1, warmup=0)
            if run >= warmup:
                seconds[name].append(taken)
    return seconds


def name_of(*parts: str) -> str:
    """Name a result after its benchmark and its subject, in letters a block of README may have."""
    return "_".join(parts).lower().replace("-", "_")


def summary(seconds: Sequence[float], unit: str = "s") -> Row:
    """Give median, min and number of runs, in ``s`` or ``ms``, as columns of a table."""
    factor = {"s": 1.0, "ms": 1e3}[unit]
    return {
        f"median {unit}": statistics.median(seconds) * factor,
        f"min {unit}": min(seconds) * factor,
        "runs": len(seconds),
    }


def peak_memory_mb() -> float:
    """Give the most memory this process has held, in 10^6 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


# ---- processes of their own ----------------------------------------------------------------------


class Child:
    """A process ``python -m module arguments`` that answers requests; see ``serve``."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str | None] | None = None,
        python: str = sys.executable,
    ) -> None:
        """Start it.

        Args:
            module: one that calls ``serve`` when given ``arguments``.
            arguments: its command line.
            environment: what differs from this process's; None removes a variable.
            python: the interpreter, e.g. that of another virtual environment.
        """
        variables = {**runtime.user_environment(), **(environment or {})}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed with the process
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            env={name: value for name, value in variables.items() if value is not None},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def ask(self, **request: Any) -> Any:
        """Send a request and wait for its answer.

        Raises:
            ChildError: if the process failed; holds the last line it wrote.
        """
        # A process that ended takes no request; its last words are read below.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise ChildError(self._last_words())
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        return lines[-1] if lines else f"exit code {code} without a word"


def serve(answer: Callable[..., Any]) -> None:
    """Answer the requests of a ``Child``'s owner until it closes.

    Call it before libraries are imported: what they print goes to standard error from then on.

    Args:
        answer: called with each request as keyword arguments; gives a JSON value.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        answers.write(json.dumps(answer(**json.loads(line))) + "\n")
        answers.flush()


def in_turns(
    children: Mapping[str, Child], rounds: int, pause: float = SPIN_SECONDS, **request: Any
) -> dict[str, list[float]]:
    """Ask every process in turn, A B A B, and collect the seconds each answers with.

    Args:
        children: they answer with a list of seconds.
        rounds: turns of each.
        pause: seconds before each turn, until the threads of the one before sleep.
        request: what is asked.

    Raises:
        ChildError: if one fails.
    """
    seconds: dict[str, list[float]] = {name: [] for name in children}
    for _ in range(rounds):
        for name, child in children.items():
            time.sleep(pause)
            seconds[name] += child.ask(**request)
    return seconds


def without_settings() -> dict[str, str | None]:
    """Give the environment of a peer as it comes: none of ``RUNTIME_VARIABLES``, nor set by us."""
    return {**dict.fromkeys(RUNTIME_VARIABLES), runtime.PREPARE: "0"}


WRITTEN_BY_BENCHMARKS = (":!benchmarks/results", ":!benchmarks/README.md")
"""For git: where the results of one benchmark must not make the next one's commit look changed."""


def _line(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _commit() -> str:
    """Name the commit, marked ``-dirty`` if files differ from it, what benchmarks write apart."""
    commit = _git("describe", "--always", "--exclude=*")
    changed = _git("status", "--porcelain", "--", ".", *WRITTEN_BY_BENCHMARKS)
    return (commit + ("-dirty" if changed else "")) or "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()
