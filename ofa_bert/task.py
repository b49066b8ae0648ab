"""A model's task, ready to train on: labels agreed, texts tokenised."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ofa_bert.data.encoded import EncodedDataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """Labelled rows in token ids, with what the labels mean and how answers are scored."""

    name: str
    labels: tuple[str, ...]
    """Label of each class, by index; empty for a regression."""
    regression: bool
    metrics: tuple[str, ...]
    """Names of the metrics; their mean is the score."""
    train: EncodedDataset
    """Empty where it was not asked for."""
    dev: dict[str, EncodedDataset]
    """By name; MNLI has two."""
