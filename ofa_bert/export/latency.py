"""How long one forward takes in Paddle Inference on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

from ofa_bert.predictor import Predictor

Key = TypeVar("Key", bound=Hashable)


def measure_latency_ms(
    predictor: Predictor, seq_len: int, batch_size: int = 1, runs: int = 30, warmup: int = 5
) -> float:
    """Measure the median time of one forward, in milliseconds.

    Args:
        predictor: the graph to time.
        seq_len: tokens of every row; none of them is padding.
        batch_size: rows.
        runs: forwards timed.
        warmup: forwards before them, which prepare kernels and memory.
    """
    return measure_latencies({0: predictor}, seq_len, batch_size, runs, warmup)[0]


def measure_latencies(
    predictors: Mapping[Key, Predictor],
    seq_len: int,
    batch_size: int = 1,
    runs: int = 30,
    warmup: int = 5,
) -> dict[Key, float]:
    """Measure the median time of one forward of each predictor, in milliseconds.

    They take turns, A B A B, so that what else the machine does falls on all of them alike.
    Arguments are those of ``measure_latency_ms``.
    """
    inputs = {
        key: _random_ids(predictor, batch_size, seq_len) for key, predictor in predictors.items()
    }
    times_ms: dict[Key, list[float]] = {key: [] for key in predictors}
    for run in range(warmup + runs):
        for key, predictor in predictors.items():
            start = time.perf_counter()
            predictor.logits(*inputs[key])
            if run >= warmup:
                times_ms[key].append((time.perf_counter() - start) * 1e3)
    return {key: statistics.median(times) for key, times in times_ms.items()}


def _random_ids(
    predictor: Predictor, batch_size: int, seq_len: int
) -> tuple[np.ndarray, np.ndarray]:
    info = predictor.info
    known = np.delete(np.arange(info.vocab_size), info.pad_token_id)
    input_ids = np.random.default_rng(0).choice(known, (batch_size, seq_len))
    return input_ids, np.zeros_like(input_ids)
