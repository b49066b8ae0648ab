"""A teacher's answers to all training rows, computed once and looked up after that."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import paddle

from ofa_bert import runtime
from ofa_bert.data.batches import Batch, evaluation_batches
from ofa_bert.data.cache import Arrays, cache_key, cached_arrays
from ofa_bert.data.encoded import EncodedDataset
from ofa_bert.deploy import versions
from ofa_bert.distill.protocols import Teacher
from ofa_bert.distill.teacher import ModelTeacher
from ofa_bert.errors import InputError
from ofa_bert.fingerprint import hash_arrays
from ofa_bert.nn.bert import BertForSequenceClassification, ModelOutput

logger = logging.getLogger(__name__)

FORMAT_VERSION = "1"
"""Raised where what is kept, or how it is computed, changes between two versions of ours."""
RECORDING_BATCH_SIZE = 64
MEMORY_SHARE = 0.8
"""Of the memory that programs can still have; the answers of all processes may take it."""


class RecordedTeacher:
    """Looks up the answers to the rows of one data set; of padding it knows nothing (zeros)."""

    def __init__(self, answers: Arrays, dataset: EncodedDataset) -> None:
        """Hold the answers that ``record`` gave for the same data set."""
        self._logits, self._hidden = answers["logits"], answers.get("hidden_states")
        self._dataset = dataset

    def __call__(self, batch: Batch) -> ModelOutput:
        """Answer a batch of the data set; hidden states only where they were recorded."""
        logits = paddle.to_tensor(self._logits[batch.indices])
        if self._hidden is None:
            return ModelOutput(logits, (), ())
        mask = batch.attention_mask.numpy().astype(bool)
        tokens = _tokens_of(self._dataset, batch.indices)
        states = []
        for layer in self._hidden:
            padded = np.zeros((*mask.shape, layer.shape[-1]), "float32")
            padded[mask] = layer[tokens]
            states.append(paddle.to_tensor(padded))
        return ModelOutput(logits, tuple(states), ())


def make_teacher(
    model: BertForSequenceClassification, dataset: EncodedDataset, cache: str
) -> Teacher:
    """Make a teacher that keeps its answers as ``cache`` says.

    Recorded before training and in a fixed order, the answers are the same bits in every run and
    after every resume.

    Args:
        model: the fine-tuned network; its parameters are frozen.
        dataset: the rows that will be asked.
        cache: ``none``: answers every batch anew; ``logits``: keeps them in memory, and no hidden
            states; ``memory``: keeps both; ``disk``: also for later runs, under a hash of
            weights and rows.

    Raises:
        InputError: if the answers do not fit into memory.
    """
    teacher = ModelTeacher(model)
    if cache == "none":
        return teacher
    with_states = cache != "logits"
    _check_memory(model, dataset, with_states)
    names = ("logits", "hidden_states") if with_states else ("logits",)

    def build() -> Arrays:
        logger.info("recording the teacher's answers to %d rows", len(dataset))
        try:
            return record(teacher, dataset, with_states=with_states)
        except MemoryError:
            longest = int(dataset.lengths.max())
            raise InputError(
                f"out of memory while recording the teacher's answers: a batch of "
                f"{min(RECORDING_BATCH_SIZE, len(dataset))} rows of up to {longest} tokens does "
                "not fit; pass --teacher_cache none or lower --max_seq_length"
            ) from None

    kept = (
        cached_arrays(cache_key(_key(model, dataset)), names, build) if cache == "disk" else build()
    )
    return RecordedTeacher(kept, dataset)


def record(teacher: Teacher, dataset: EncodedDataset, *, with_states: bool) -> Arrays:
    """Ask a teacher about every row once.

    Returns:
        ``logits``: float32 ``[rows, num_classes]``; ``hidden_states``: float32
        ``[num_layers + 1, all tokens, hidden_size]``, in the order of the data set, zeros where a
        text holds padding.
    """
    arrays: Arrays = {}
    for batch in evaluation_batches(dataset, RECORDING_BATCH_SIZE):
        output = teacher(batch)
        assert output is not None, "a teacher that answers nothing cannot be recorded"
        if not arrays:
            arrays["logits"] = np.empty((len(dataset), output.logits.shape[-1]), "float32")
            if with_states:
                sizes = (len(output.hidden_states), len(dataset.input_ids))
                hidden_size = output.hidden_states[0].shape[-1]
                arrays["hidden_states"] = np.zeros((*sizes, hidden_size), "float32")
        arrays["logits"][batch.indices] = output.logits.numpy()
        if with_states:
            tokens, mask = _tokens_of(dataset, batch.indices), batch.attention_mask.numpy() == 1
            for layer, states in zip(arrays["hidden_states"], output.hidden_states, strict=True):
                layer[tokens] = states.numpy()[mask]
    return arrays


def _tokens_of(dataset: EncodedDataset, rows: np.ndarray) -> np.ndarray:
    """Give the places of the tokens that a mask of these rows keeps, row after row.

    A text may hold ``[PAD]``, which is padding to a mask.
    """
    spans = [np.arange(dataset.offsets[row], dataset.offsets[row + 1]) for row in rows]
    places = np.concatenate(spans)
    return places[dataset.input_ids[places] != dataset.pad_token_id]


def _check_memory(
    model: BertForSequenceClassification, dataset: EncodedDataset, with_states: bool
) -> None:
    if not with_states:
        return
    config = model.config
    needed = 4 * (config.num_layers + 1) * len(dataset.input_ids) * config.hidden_size
    available, processes = runtime.available_bytes(), runtime.processes_here()
    if processes * needed > MEMORY_SHARE * available:
        each = f" in each of {processes} processes" if processes > 1 else ""
        raise InputError(
            f"teacher_cache needs {needed / 1e9:.1f} GB{each} for the hidden states of "
            f"{len(dataset)} rows; at most {MEMORY_SHARE:.0%} of the {available / 1e9:.1f} GB that "
            "this machine can give may be taken; pass --teacher_cache none"
        )


def _key(model: BertForSequenceClassification, dataset: EncodedDataset) -> Iterator[str]:
    """Name everything that decides the bits of an answer; of a GPU only that it is one."""
    device = paddle.device.get_device().partition(":")[0]
    yield from ("teacher", FORMAT_VERSION, str(RECORDING_BATCH_SIZE), *versions().values())
    yield from (device, runtime.processor_name(), runtime.describe(), str(model.config))
    yield hash_arrays({name: value.numpy() for name, value in model.state_dict().items()})
    yield str(dataset.pad_token_id)
    yield hash_arrays(
        {name: getattr(dataset, name) for name in ("input_ids", "token_type_ids", "offsets")}
    )
