"""Batches for the training benchmarks: random tokens in rows as long as MRPC's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import ofa_bert as ofa
from ofa_bert.data.batches import Batch, make_batch, training_steps
from ofa_bert.data.encoded import EncodedDataset

NUM_BATCHES = 8
MEAN_LENGTH, DEVIATION = 53, 12
"""Of MRPC's pairs, in tokens."""


def dataset(config: ofa.ModelConfig, batch_size: int) -> EncodedDataset:
    """Draw rows as long as MRPC's, enough for some batches, the same in every process."""
    lengths = np.random.default_rng(0).normal(MEAN_LENGTH, DEVIATION, batch_size * NUM_BATCHES)
    return rows_of(config, lengths.clip(20, 100).astype("int64"))


def training_batches(rows: EncodedDataset, batch_size: int) -> list[Batch]:
    """Give the batches of an epoch as training sees them."""
    steps = training_steps(rows, batch_size=batch_size, seed=0, epoch=0)
    return [batches[0] for batches in steps]


def random_batches(rows: EncodedDataset, batch_size: int) -> list[Batch]:
    """Give the same rows as the predecessor's loader does: shuffled, padded to their longest."""
    order = np.random.default_rng(0).permutation(len(rows))
    return [make_batch(rows, part) for part in order.reshape(-1, batch_size)]


BATCHES = {"similar": training_batches, "random": random_batches}


def unpadded_batch(config: ofa.ModelConfig, batch_size: int) -> Batch:
    """Give a batch of rows of one length: the predecessor's losses count padding, ours do not."""
    rows = rows_of(config, np.full(batch_size, MEAN_LENGTH))
    return make_batch(rows, np.arange(batch_size))


def rows_of(config: ofa.ModelConfig, lengths: np.ndarray) -> EncodedDataset:
    """Draw a row of random tokens for each length, with a random label."""
    generator, total = np.random.default_rng(0), int(lengths.sum())
    return EncodedDataset(
        input_ids=generator.integers(5, config.vocab_size, total).astype("int32"),
        token_type_ids=np.zeros(total, "int32"),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        labels=generator.integers(0, config.num_classes, len(lengths)),
    )


def without_dropout(model: ofa.BertForSequenceClassification) -> ofa.BertForSequenceClassification:
    """Copy a model as one that drops nothing."""
    plain = ofa.BertForSequenceClassification(
        replace(model.config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    )
    plain.set_state_dict(model.state_dict())
    return plain
