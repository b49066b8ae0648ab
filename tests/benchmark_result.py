"""What a benchmark might have found, for tests of what is made of it."""

from __future__ import annotations

from benchmarks.harness import Result

RESULT = Result(
    benchmark="sums",
    settings={"runs": 3},
    rows=[{"engine": "ours", "median ms": 1.25, "runs": 3}],
    machine={"cpu": "abacus", "cores": 1},
    notes=["left out: slide rule, not installed"],
)
