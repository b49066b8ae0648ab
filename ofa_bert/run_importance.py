"""The importance of a run: one for all its processes, and for all times it is resumed.

Scores differ in rounding with threads, processors and devices. Where two of them are close, so may
the order of heads and neurons: weights sorted in two ways must not meet.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from safetensors.numpy import load_file, save

from ofa_bert.checkpointing import IMPORTANCE, IMPORTANCE_FILE, Checkpoints
from ofa_bert.data.batches import Batch
from ofa_bert.distributed import ALONE, Ranks, from_main
from ofa_bert.durable import DamagedError, check_whole, new_directory, remove_directory
from ofa_bert.errors import InputError
from ofa_bert.importance import Importance, score_importance
from ofa_bert.nn.bert import BertForSequenceClassification

logger = logging.getLogger(__name__)


def score_importance_once(
    model: BertForSequenceClassification,
    batches: Iterable[Batch],
    checkpoints: Checkpoints,
    ranks: Ranks = ALONE,
) -> Importance:
    """Score heads and neurons, or read what the run that is resumed scored: the same everywhere.

    Args:
        model: the fine-tuned network.
        batches: with labels; not asked for where the scores are read.
        checkpoints: of the run; they keep the scores.
        ranks: this process among those that train together; what the main one has counts.

    Raises:
        InputError: if there is no batch, the system refuses to write, or the run has saved steps
            and not, or no longer, the scores that its weights are sorted by.
    """
    kept = from_main(_read(checkpoints) if ranks.is_main else None, ranks)
    if kept is not None:
        return kept
    # In every process, though one counts: gloo lets none wait for another longer than 30 seconds.
    scores = from_main(score_importance(model, batches), ranks)
    if ranks.is_main and checkpoints.directory is not None:
        _write(scores, checkpoints.directory)
    return scores


def _read(checkpoints: Checkpoints) -> Importance | None:
    if checkpoints.directory is None:
        return None
    folder = checkpoints.directory / IMPORTANCE
    try:
        check_whole(folder)
    except DamagedError as error:
        if checkpoints.has_steps:
            raise InputError(
                f"importance that the checkpoints in {checkpoints.directory} are sorted by cannot "
                f"be read: {error}; begin anew with --overwrite_output_dir"
            ) from None
        remove_directory(folder, [IMPORTANCE_FILE])  # nothing was trained by it yet
        return None
    arrays = load_file(folder / IMPORTANCE_FILE)
    logger.info("importance as the run scored it at its start")
    layers = range(len(arrays) // 2)
    return Importance(
        heads=tuple(arrays[f"{layer}.heads"] for layer in layers),
        neurons=tuple(arrays[f"{layer}.neurons"] for layer in layers),
    )


def _write(scores: Importance, directory: Path) -> None:
    arrays = {
        f"{layer}.{name}": values
        for name, by_layer in (("heads", scores.heads), ("neurons", scores.neurons))
        for layer, values in enumerate(by_layer)
    }
    try:
        directory.mkdir(exist_ok=True)
        with new_directory(directory / IMPORTANCE, [IMPORTANCE_FILE]) as folder:
            (folder / IMPORTANCE_FILE).write_bytes(save(arrays))
    except OSError as error:
        raise InputError(
            f"importance cannot be written to {directory}: {error.strerror or error}; mend that, "
            "then type the same command with --resume"
        ) from None
