"""Scores of answers against labels, by scikit-learn and SciPy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from ofa_bert.errors import InputError, nearest

Metric = Callable[[np.ndarray, np.ndarray], float]


def compute_metrics(
    names: Iterable[str], logits: np.ndarray, labels: np.ndarray, positive_class: int = 1
) -> dict[str, float]:
    """Score answers in each metric named, as fractions of 1.

    ``accuracy``, ``f1`` (two classes, one of them the positive one) and ``mcc`` compare the
    class of the largest logit; ``pearson`` and ``spearman`` compare the one logit as a number.

    Args:
        names: of the metrics.
        logits: ``[rows, num_classes]``; regression: ``[rows, 1]``.
        labels: ``[rows]``, class indices or numbers.
        positive_class: index of the class that ``f1`` counts.

    Raises:
        InputError: if a metric is unknown, needs another number of logits, or there is no row;
            if a logit is NaN or infinite, which no metric can compare.
    """
    if len(labels) == 0:
        raise InputError("metrics need at least one labelled row; got none")
    broken = ~np.isfinite(logits).all(axis=1)
    if broken.any():
        row = int(broken.argmax())
        raise InputError(
            f"logits must be finite numbers to be scored; got {logits[row].tolist()} for row {row} "
            f"({int(broken.sum())} of {len(logits)} rows are so): the weights are damaged, or "
            "training diverged: lower --learning_rate or add --warmup_steps"
        )
    return {name: _compute(name, logits, labels, positive_class) for name in names}


def score(metrics: Mapping[str, float]) -> float:
    """Give the mean of a task's metrics, GLUE's convention (arXiv:1804.07461 §3.4)."""
    return float(np.mean(list(metrics.values())))


def _compute(name: str, logits: np.ndarray, labels: np.ndarray, positive_class: int) -> float:
    num_classes = logits.shape[1]
    if name in NUMBER_METRICS:
        if num_classes != 1:
            raise InputError(f"{name} must be given one logit a row; got {num_classes}")
        predictions = logits[:, 0].astype("float64")
        return NUMBER_METRICS[name](predictions, labels.astype("float64"))
    if name not in CLASS_METRICS:
        known = [*CLASS_METRICS, *NUMBER_METRICS]
        raise InputError(f"metric {name!r} is unknown; {nearest(name, known)}")
    if num_classes < 2 or (name == "f1" and num_classes != 2):
        wanted = "two" if name == "f1" else "two or more"
        raise InputError(f"{name} must be given {wanted} logits a row; got {num_classes}")
    answers = logits.argmax(axis=1)
    if name == "f1":
        labels, answers = labels == positive_class, answers == positive_class
    return float(CLASS_METRICS[name](labels, answers))


def _f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    # Neither a positive label nor a positive answer: 0, as scikit-learn gives with a warning.
    return f1_score(labels, predictions, zero_division=0.0)


def _mcc(labels: np.ndarray, predictions: np.ndarray) -> float:
    # scikit-learn gives 0 too where one of them is constant, but warns where both are.
    return 0.0 if _is_constant(predictions, labels) else matthews_corrcoef(labels, predictions)


def _pearson(predictions: np.ndarray, labels: np.ndarray) -> float:
    return (
        0.0 if _is_constant(predictions, labels) else float(stats.pearsonr(predictions, labels)[0])
    )


def _spearman(predictions: np.ndarray, labels: np.ndarray) -> float:
    return (
        0.0 if _is_constant(predictions, labels) else float(stats.spearmanr(predictions, labels)[0])
    )


def _is_constant(predictions: np.ndarray, labels: np.ndarray) -> bool:
    # Correlation with a constant is 0/0. We call it 0: a network that answers the same to every
    # text has learned nothing yet, and NaN would win or lose every comparison of checkpoints.
    return bool(np.ptp(predictions) == 0.0 or np.ptp(labels) == 0.0)


CLASS_METRICS: dict[str, Metric] = {
    "accuracy": accuracy_score,
    "f1": _f1,
    "mcc": _mcc,
}
NUMBER_METRICS: dict[str, Metric] = {"pearson": _pearson, "spearman": _spearman}
