"""metrics.jsonl: one line of loss, speed and learning rate every so many steps."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any


class MetricsLog:
    """Averages what happens between two lines, and writes them.

    Args:
        path: the file, or None to write nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._clear()

    def _clear(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: Counter[str] = Counter()
        self._steps, self._tokens, self._seconds = 0, 0, 0.0

    def add(self, terms: dict[str, dict[str, float]], tokens: int, seconds: float) -> None:
        """Take in one step.

        Args:
            terms: loss terms of each sub-network, by name.
            tokens: non-padding tokens of the step.
            seconds: how long it took.
        """
        for name, values in terms.items():
            for term, value in values.items():
                key = f"{name}/{term}"
                self._sums[key] = self._sums.get(key, 0.0) + value
                self._counts[key] += 1
        self._steps += 1
        self._tokens += tokens
        self._seconds += seconds

    def write(self, step: int, epoch: float, learning_rate: float) -> dict[str, Any]:
        """Append the means since the last line, and begin anew.

        Returns:
            What was written; ``loss`` is the sum over sub-networks and terms, each the mean over
            the steps that trained it.
        """
        losses = {key: total / self._counts[key] for key, total in self._sums.items()}
        line = {
            "step": step,
            "epoch": round(epoch, 4),
            "learning_rate": learning_rate,
            "loss": sum(losses.values()),
            "losses": losses,
            "seconds_per_step": round(self._seconds / self._steps, 4),
            "tokens_per_second": round(self._tokens / max(self._seconds, 1e-9)),
        }
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        self._clear()
        return line

    def rewind(self, step: int) -> None:
        """Drop lines after ``step``, and one torn by a kill: a resumed run writes them again."""
        if self.path is None or not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        kept = [line for line in whole if json.loads(line)["step"] <= step]
        self.path.write_text("".join(kept), encoding="utf-8")
