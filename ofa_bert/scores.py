"""Scores of sub-networks over a run: the latest, and the best so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Scores = dict[str, dict[str, float]]
"""Metrics of each sub-network, by its name; each with the task's ``score``."""


@dataclass(frozen=True)
class Best:
    """The best scores up to a step. A value: ``update`` gives a new one."""

    step: int = 0
    """Step with the highest mean score over the sub-networks; the weights that are kept."""
    mean_score: float = float("-inf")
    scores: Scores = field(default_factory=dict)
    """Metrics at that step."""
    own: dict[str, dict[str, Any]] = field(default_factory=dict)
    """For each sub-network its own best: ``{"step": ..., "metrics": ...}``."""

    def update(self, step: int, scores: Scores) -> Best:
        """Take the scores of a later step into account."""
        own = dict(self.own)
        for name, metrics in scores.items():
            if name not in own or metrics["score"] > own[name]["metrics"]["score"]:
                own[name] = {"step": step, "metrics": metrics}
        mean = sum(metrics["score"] for metrics in scores.values()) / len(scores)
        if mean > self.mean_score:
            return Best(step, mean, scores, own)
        return Best(self.step, self.mean_score, self.scores, own)

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return asdict(self)


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Write metrics on a line, as fractions."""
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
