"""Export one width: a plain smaller model, its static graph, and proof that both are right."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ofa_bert.checkpoint.save import WEIGHTS_FILE, save_model
from ofa_bert.data.tokenizer import Tokenizer
from ofa_bert.export.model_card import CardFacts, model_card
from ofa_bert.export.parity import Parity, TokenIds, check_parity
from ofa_bert.export.staging import CARD_FILE, STATIC, SUB_MODEL, staged
from ofa_bert.export.static import check_max_seq_length, check_padding, write_static
from ofa_bert.extraction import extract
from ofa_bert.nn.bert import BertForSequenceClassification
from ofa_bert.rules import require
from ofa_bert.subnet import Subnet


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote."""

    width_mult: float
    subnet: Subnet
    sub_model_dir: Path
    """The dynamic sub-model: config.json, model.safetensors, tokenizer files, README.md."""
    static_dir: Path | None
    """The static graph, deploy.json and tokenizer files; None where not asked for."""
    file_bytes: int
    """Size of the sub-model's weights."""
    parity: Parity
    """How far its logits are from the supernet's."""


def export_width(
    model: BertForSequenceClassification,
    width_mult: float,
    subnet: Subnet,
    tokenizer: Tokenizer,
    *,
    sub_model_dir: str | Path,
    static_dir: str | Path | None = None,
    max_seq_length: int,
    parity_inputs: Iterable[TokenIds],
    rows_are: str = "rows",
    facts: CardFacts | None = None,
) -> ExportResult:
    """Cut a sub-network out, save it, check what was saved, and only then put it in place.

    If anything fails, both directories stay as they were. Earlier exports in them are replaced.

    Args:
        model: the supernet's model; stays as it is.
        width_mult: the width, for the model card.
        subnet: what to cut out.
        tokenizer: saved beside the weights.
        sub_model_dir: where the dynamic sub-model goes.
        static_dir: where the static graph goes; None: no graph.
        max_seq_length: tokens to cut texts to.
        parity_inputs: padded ``(input_ids, token_type_ids)`` of real rows.
        rows_are: what to call these rows in the line of the parity check.
        facts: what the model card says of source and scores.

    Raises:
        InputError: if a directory holds something else, one lies within the other,
            ``max_seq_length`` does not fit the model, or the tokenizer has another padding id.
        ParityError: if the saved files do not compute what the supernet computes.
    """
    sub_model_dir = Path(sub_model_dir)
    static_dir = None if static_dir is None else Path(static_dir)
    _check_apart(sub_model_dir, static_dir)
    check_max_seq_length(max_seq_length, model.config.max_position_embeddings)
    check_padding(model.config, tokenizer)
    with ExitStack() as stack:
        stage = stack.enter_context(staged(sub_model_dir, SUB_MODEL))
        static_stage = static_dir and stack.enter_context(staged(static_dir, STATIC))
        sub_model = extract(model, subnet)
        sub_model.config = dataclasses.replace(sub_model.config, max_seq_length=max_seq_length)
        save_model(sub_model, stage, tokenizer)
        if static_stage is not None:
            write_static(
                sub_model, static_stage, tokenizer=tokenizer, max_seq_length=max_seq_length
            )
        parity = check_parity(model, subnet, stage, static_stage, parity_inputs, rows_are)
        file_bytes = (stage / WEIGHTS_FILE).stat().st_size
        card = model_card(
            model.config,
            subnet,
            width_mult,
            facts or CardFacts(),
            max_seq_length=max_seq_length,
            file_bytes=file_bytes,
            parity=str(parity),
        )
        (stage / CARD_FILE).write_text(card, encoding="utf-8")
    return ExportResult(width_mult, subnet, sub_model_dir, static_dir, file_bytes, parity)


def _check_apart(sub_model_dir: Path, static_dir: Path | None) -> None:
    if static_dir is None:
        return
    first, second = sub_model_dir.resolve(), static_dir.resolve()
    require(
        first != second and first not in second.parents and second not in first.parents,
        "sub_model_output_dir and static_sub_model must be two directories, neither within the "
        f"other; got {sub_model_dir} and {static_dir}",
    )
