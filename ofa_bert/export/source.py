"""What an export takes from the directory of a trained supernet."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofa_bert.checkpoint.files import read_json, reason
from ofa_bert.config import DataConfig, ExportConfig
from ofa_bert.data.batches import evaluation_batches
from ofa_bert.data.tokenizer import Tokenizer
from ofa_bert.errors import InputError
from ofa_bert.export.model_card import CardFacts
from ofa_bert.export.parity import TokenIds
from ofa_bert.export.staging import STATIC, SUB_MODEL, check_parent
from ofa_bert.model_config import ModelConfig
from ofa_bert.rules import is_size
from ofa_bert.run_folder import RESULTS
from ofa_bert.safe_text import short
from ofa_bert.subnet import Subnet, resolve_widths
from ofa_bert.supernet import Supernet
from ofa_bert.width_folders import width_folder, width_folders
from ofa_bert.widths import width_label

logger = logging.getLogger(__name__)

PARITY_ROWS = 16
"""Rows compared. Each takes three forwards, most of an export's time; a lost bias shows in any."""


def widths_to_export(supernet: Supernet, config: ExportConfig) -> list[float]:
    """Choose the widths, widest first; warn of one that was not trained.

    Raises:
        InputError: if two of them are the same sub-network or are written alike.
    """
    if config.all_widths:
        return list(supernet.widths)
    wanted = resolve_widths(supernet.model.config, config.width_mult)
    for width_mult, subnet in wanted.items():
        if subnet not in supernet.widths.values():
            trained = ", ".join(width_label(width) for width in supernet.widths)
            logger.warning(
                "width %s was not trained: expect a poor score; trained: %s",
                width_label(width_mult),
                trained,
            )
    return list(wanted)


def export_places(
    config: ExportConfig, width_mults: Sequence[float]
) -> dict[float, tuple[Path, Path | None]]:
    """Give the directories of each width's sub-model and static graph; None where none is wanted.

    Several widths go to directories of their own; warn of those there that are not written anew.

    Raises:
        InputError: if several are to go where a model lies.
    """
    sub_model = Path(config.sub_model_output_dir)
    static = None if config.static_sub_model is None else Path(config.static_sub_model)
    if len(width_mults) == 1:
        return {width_mults[0]: (sub_model, static)}
    folders = {width_mult: width_folder(width_mult) for width_mult in width_mults}
    for parent, kind in [(sub_model, SUB_MODEL), (static, STATIC)]:
        if parent is not None:
            check_parent(parent, kind)
            _warn_of_others(parent, folders.values())
    return {w: (sub_model / f, static and static / f) for w, f in folders.items()}


def _warn_of_others(parent: Path, folders: Collection[str]) -> None:
    others = [path.name for path in width_folders(parent) if path.name not in folders]
    if others:
        logger.warning(
            "%s holds %s too, of an export before: they stay as they are, and may be of another "
            "supernet",
            parent,
            ", ".join(others),
        )


def parity_rows(
    data: DataConfig,
    config: ModelConfig,
    tokenizer: Tokenizer,
    num_rows: int = PARITY_ROWS,
    *,
    required: bool = False,
) -> tuple[list[TokenIds], str]:
    """Give padded ids of some development rows; random ids where there are none to read.

    Args:
        data: names the rows.
        config: the model's.
        tokenizer: the model's.
        num_rows: how many.
        required: whether rows that cannot be read are an error, as what the user typed is.

    Returns:
        The ids in batches, and what to call their rows.

    Raises:
        InputError: if the rows are required and cannot be read.
    """
    from ofa_bert.data.dataset import load_task
    from ofa_bert.task import encode_task

    try:
        texts = load_task(
            data,
            need_train=False,
            known_labels=config.labels,
            regression=config.is_regression,
        )
    except InputError as error:
        if required:
            raise
        logger.warning("parity is checked on random ids, not on the dev set: %s", error)
        return random_batches(config, num_rows, data.max_seq_length), "random rows"
    labels = config.labels or texts.labels
    rows = next(iter(encode_task(texts, labels, tokenizer, data.max_seq_length).dev.values()))
    batches = [
        (batch.input_ids.numpy(), batch.token_type_ids.numpy())
        for batch in evaluation_batches(rows.spread(num_rows), 8)
    ]
    return batches, "rows of the dev set"


def random_batches(
    config: ModelConfig, num_rows: int, seq_len: int, batch_size: int = 8
) -> list[TokenIds]:
    """Draw rows of all lengths up to ``seq_len``, longest first, in batches that end in padding.

    Unlike rows of one length these show whether padding is masked, and they cost three fifths.
    """
    input_ids, token_type_ids = random_ids(config, num_rows, seq_len)
    longest = input_ids.shape[1]
    lengths = np.linspace(longest, 1, num_rows).round().astype(int)
    input_ids[np.arange(longest) >= lengths[:, None]] = config.pad_token_id
    return [
        (
            input_ids[start : start + batch_size, : lengths[start]],
            token_type_ids[start : start + batch_size, : lengths[start]],
        )
        for start in range(0, num_rows, batch_size)
    ]


def random_ids(config: ModelConfig, num_rows: int, seq_len: int) -> TokenIds:
    """Draw ids that are no padding, ``[num_rows, seq_len]``."""
    generator = np.random.default_rng(0)
    shape = (num_rows, min(seq_len, config.max_position_embeddings))
    input_ids = generator.integers(0, config.vocab_size - 1, shape)
    # Skips the padding id, wherever it is.
    return input_ids + (input_ids >= config.pad_token_id), np.zeros(shape, "int64")


def card_facts(directory: str | Path, subnet: Subnet) -> CardFacts:
    """Read what the run's results say of a sub-network; only the source where they say nothing.

    Raises:
        InputError: if they are not as a run writes them.
    """
    directory = Path(directory)
    source = directory.resolve().name  # "." and ".." have no name of their own
    if not (directory / RESULTS).exists():
        return CardFacts(source=source)
    path = directory / RESULTS
    results = read_json(path, "results")
    try:
        for row in results.get("widths", []):
            sizes = {name: tuple(counts) for name, counts in row["subnet"].items()}
            if Subnet(**sizes) == subnet:  # not the widths: 0.6667 may stand for 2/3
                return CardFacts(
                    source=source,
                    metrics={str(name): _number(value) for name, value in row["metrics"].items()},
                    teacher_score=_number_or_none(row["teacher_score"]),
                    latency_ms=_number_or_none(row["latency_ms"]),
                    measured_at=_length(results.get("settings", {}).get("max_seq_length")),
                )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is not as run_glue_ofa.py writes it: {reason(error)}") from None
    return CardFacts(source=source)


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"a number must stand where {short(value)} does")
    return float(value)


def _length(value: Any) -> int | None:
    if value is not None and not is_size(value):
        raise TypeError(f"a number of tokens must stand where {short(value)} does")
    return value


def _number_or_none(value: object) -> float | None:
    return None if value is None else _number(value)
