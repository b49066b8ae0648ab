"""metrics.jsonl: one line of loss, speed and learning rate every so many steps, and at the end."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from ofa_bert.durable import sync
from ofa_bert.errors import InputError


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

        Raises:
            InputError: if the system refuses to write.
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
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
            except OSError as error:
                raise InputError(
                    f"{self.path} cannot be written: {error.strerror}; the last checkpoint is "
                    "kept: mend that, then type the same command with --resume"
                ) from None
        self._clear()
        return line

    def pending(self) -> dict[str, Any]:
        """Give what has gathered since the last line, as JSON values for a checkpoint."""
        return {
            "sums": dict(self._sums),
            "counts": dict(self._counts),
            "steps": self._steps,
            "tokens": self._tokens,
            "seconds": self._seconds,
        }

    def rewind(self, step: int, pending: dict[str, Any] | None = None) -> None:
        """Go back to where the log stood after ``step``: a resumed run writes the rest again.

        Lines after ``step`` are dropped, and one torn by a kill.

        Args:
            step: of the checkpoint.
            pending: what had gathered since the last line then; None: nothing.

        Raises:
            InputError: if a line before ``step`` is none of ours.
        """
        self._clear()
        if pending:
            self._sums, self._counts = dict(pending["sums"]), Counter(pending["counts"])
            self._steps, self._tokens = pending["steps"], pending["tokens"]
            self._seconds = pending["seconds"]
        if self.path is None or not self.path.exists():
            return
        kept = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n") or _step_of(line, f"{self.path}, line {number}") > step:
                    break
                kept += len(line)
        # Cut, not written anew: a kill here loses nothing.
        os.truncate(self.path, kept)

    def sync(self) -> None:
        """Flush the lines to the disk, before a checkpoint says that they are there."""
        if self.path is not None and self.path.exists():
            sync(self.path)


def _step_of(line: bytes, where: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{where}, is no line of a run; mend or remove the file, or begin anew with "
            "--overwrite_output_dir"
        ) from None
