"""Padded batches of similar length, as tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import paddle

from ofa_bert.data.encoded import EncodedDataset
from ofa_bert.errors import InputError

POOL_STEPS = 50
"""Steps whose rows are sorted by length together: enough to pad little, few enough to mix."""
SMALLER_BATCHES = (
    "lower --batch_size (and raise --gradient_accumulation_steps as much) or --max_seq_length"
)
"""What to type where the batches of training do not fit into memory."""


@dataclass(frozen=True)
class Batch:
    """Rows for one forward, padded to their own longest.

    ``step_examples`` and ``step_tokens`` count the rows and the non-padding tokens of the whole
    optimizer step, over all its batches in all processes. Losses divide by them, so that the
    parts of a split step add up to exactly the loss of the step.
    """

    input_ids: paddle.Tensor
    """int64 ``[batch, seq_len]``."""
    token_type_ids: paddle.Tensor
    """int64 ``[batch, seq_len]``."""
    attention_mask: paddle.Tensor
    """int64 ``[batch, seq_len]``, 1 for tokens and 0 for padding."""
    labels: paddle.Tensor
    """``[batch]``: int64 classes, or float32 numbers."""
    indices: np.ndarray
    """int64 ``[batch]``, the rows' places in the data set."""
    step_examples: int
    step_tokens: int


def make_batch(
    dataset: EncodedDataset,
    indices: np.ndarray,
    *,
    step_examples: int | None = None,
    step_tokens: int | None = None,
) -> Batch:
    """Pad rows to their longest; without counts of a step, the batch is the whole step."""
    lengths = dataset.lengths[indices]
    shape = (len(indices), int(lengths.max()))
    is_row = np.arange(shape[1]) < lengths[:, None]
    input_ids = np.full(shape, dataset.pad_token_id, "int64")
    token_type_ids = np.zeros(shape, "int64")
    input_ids[is_row] = np.concatenate([dataset.row(i)[0] for i in indices])
    token_type_ids[is_row] = np.concatenate([dataset.row(i)[1] for i in indices])
    return Batch(
        input_ids=paddle.to_tensor(input_ids),
        token_type_ids=paddle.to_tensor(token_type_ids),
        # By id, as the exported graph masks: a text may hold a literal [PAD].
        attention_mask=paddle.to_tensor((input_ids != dataset.pad_token_id).astype("int64")),
        labels=paddle.to_tensor(dataset.labels[indices]),
        indices=np.asarray(indices, "int64"),
        step_examples=step_examples or len(indices),
        step_tokens=step_tokens or int(dataset.token_counts[indices].sum()),
    )


@contextmanager
def memory_told(batches: Sequence[Batch], doing: str, remedy: str) -> Iterator[None]:
    """Say of work that does not fit into memory how large its largest batch was, and a remedy.

    Raises:
        InputError: in the place of a ``MemoryError``.
    """
    try:
        yield
    except MemoryError:
        shapes = [batch.input_ids.shape for batch in batches]
        rows, length = max(shapes, key=math.prod, default=(0, 0))
        raise InputError(
            f"out of memory while {doing}: a batch of {rows} rows of {length} tokens does not fit; "
            f"{remedy}"
        ) from None


def evaluation_batches(dataset: EncodedDataset, batch_size: int) -> Iterator[Batch]:
    """Give every row once, longest first."""
    order = np.argsort(-dataset.lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield make_batch(dataset, order[start : start + batch_size])


def steps_per_epoch(
    num_rows: int, *, batch_size: int, accumulation: int = 1, world_size: int = 1
) -> int:
    """Count the optimizer steps that show every row once."""
    return math.ceil(num_rows / (batch_size * accumulation * world_size))


def training_steps(
    dataset: EncodedDataset,
    *,
    batch_size: int,
    accumulation: int = 1,
    rank: int = 0,
    world_size: int = 1,
    seed: int,
    epoch: int,
    skip: int = 0,
) -> Iterator[list[Batch]]:
    """Give the batches of each optimizer step of an epoch for one process.

    Which rows a step holds is a function of seed, epoch and the step's total number of rows,
    ``batch_size * accumulation * world_size``, however these are split among processes and batches.
    The split decides how rows are padded and what dropout they meet. Over an epoch and all
    processes every row comes once. A last short step of fewer rows than processes leaves some an
    empty list; they must join in adding up gradients all the same.

    Args:
        dataset: the rows.
        batch_size: rows of one forward.
        accumulation: forwards of a process in one step.
        rank: this process.
        world_size: processes that train together.
        seed: of the order of the rows.
        epoch: from 0; each has its own order.
        skip: leave out so many first steps.
    """
    rows_per_step = batch_size * accumulation * world_size
    for rows in _step_rows(dataset.lengths, rows_per_step, seed, epoch)[skip:]:
        counts = {"step_examples": len(rows), "step_tokens": int(dataset.token_counts[rows].sum())}
        forwards = math.ceil(len(rows) / (batch_size * world_size))
        # Neighbours are of similar length: processes that wait for each other get the same work.
        parts = np.array_split(rows, forwards * world_size)[rank::world_size]
        yield [make_batch(dataset, part, **counts) for part in parts if len(part)]


def _step_rows(lengths: np.ndarray, rows_per_step: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Shuffle, sort by length within pools, cut into steps, and shuffle the steps.

    The rows too few for a whole step are the last, and a random sample: cut from the sorted rows
    they would be the longest ones, in every epoch.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    whole = len(order) - len(order) % rows_per_step
    pool_rows = rows_per_step * POOL_STEPS
    steps = []
    for start in range(0, whole, pool_rows):
        pool = _by_length(order[start : min(start + pool_rows, whole)], lengths)
        steps += np.split(pool, len(pool) // rows_per_step)
    steps = [steps[i] for i in generator.permutation(len(steps))]
    rest = _by_length(order[whole:], lengths)
    return [*steps, rest] if len(rest) else steps


def _by_length(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return rows[np.argsort(lengths[rows], kind="stable")]
