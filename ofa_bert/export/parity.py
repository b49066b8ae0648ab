"""Proof that a sub-model's files compute what the supernet computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle

from ofa_bert.checkpoint.load import load_model
from ofa_bert.errors import CheckError
from ofa_bert.nn.bert import BertForSequenceClassification
from ofa_bert.nn.mode import evaluating
from ofa_bert.predictor import Predictor
from ofa_bert.rules import require
from ofa_bert.subnet import Subnet

# float32 sums in another order differ by some 1e-6; a lost bias or head by far more than this.
LARGEST_DIFFERENCE = 1e-4

SMALL_LENGTH = 16
"""Tokens of the row that is compared by itself: few enough for the way of the smallest batches."""

TokenIds = tuple[np.ndarray, np.ndarray]
"""``input_ids`` and ``token_type_ids``, each ``[batch, seq_len]``."""


class ParityError(CheckError):
    """An export computes something else than the supernet it was cut from."""


@dataclass(frozen=True)
class Parity:
    """How far apart the logits are, at most, over some rows of text."""

    rows: int
    """Rows compared."""
    supernet_vs_sub_model: float
    """Largest absolute difference of a logit."""
    sub_model_vs_static: float | None
    """The same; None where no static graph was written."""
    rows_are: str = "rows"
    """What to call them: of the dev set, random."""

    @property
    def largest(self) -> float:
        """The larger of the two differences; NaN if one is."""
        differences = [self.supernet_vs_sub_model]
        if self.sub_model_vs_static is not None:
            differences.append(self.sub_model_vs_static)
        return float(np.max(differences))

    def __str__(self) -> str:
        static = (
            "no static graph"
            if self.sub_model_vs_static is None
            else f"sub-model vs static graph {self.sub_model_vs_static:.1e}"
        )
        return (
            f"parity on {self.rows} {self.rows_are}, largest logit difference: "
            f"supernet vs sub-model {self.supernet_vs_sub_model:.1e}, {static}"
        )


def check_parity(
    supernet_model: BertForSequenceClassification,
    subnet: Subnet,
    sub_model: str | Path | BertForSequenceClassification,
    static: str | Path | Predictor | None,
    batches: Iterable[TokenIds],
    rows_are: str = "rows",
) -> Parity:
    """Compare the logits of a supernet at ``subnet``, of its sub-model and of the static graph.

    A predictor runs small batches by other operations than large ones, so one row of the first
    batch is also compared by itself.

    Args:
        supernet_model: compared in eval mode, and then left in the mode it was in.
        subnet: what the sub-model was cut with.
        sub_model: its directory, which is loaded anew, or a model.
        static: the static graph's directory or a predictor of it; None: not compared.
        batches: padded ids of real rows.
        rows_are: what to call the rows.

    Raises:
        InputError: if ``batches`` is empty or a directory cannot be loaded.
        ParityError: if a difference is above 1e-4, or not a number.
    """
    if isinstance(sub_model, str | Path):
        sub_model = load_model(str(sub_model))
    if isinstance(static, str | Path):
        static = Predictor(static)
    rows, to_sub_model, to_static = 0, [], []
    with evaluating(supernet_model), evaluating(sub_model):
        for input_ids, token_type_ids, counted in _and_a_small_one(batches):
            expected = _logits(supernet_model, input_ids, token_type_ids, subnet)
            reloaded = _logits(sub_model, input_ids, token_type_ids)
            rows += counted
            to_sub_model.append(np.abs(expected - reloaded).max())
            if static is not None:
                answered = static.logits(input_ids, token_type_ids)
                to_static.append(np.abs(reloaded - answered).max())
    require(
        rows > 0, "parity_inputs must hold at least one row; got none; pass rows of the dev set"
    )
    return _within_bounds(
        Parity(
            rows,
            float(np.max(to_sub_model)),
            float(np.max(to_static)) if to_static else None,
            rows_are,
        )
    )


def _and_a_small_one(batches: Iterable[TokenIds]) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Give the ids of each batch and its count of rows, and before them a row cut short.

    That one is in the first batch already, so it counts as 0 rows.
    """
    for number, (input_ids, token_type_ids) in enumerate(batches):
        if number == 0:
            yield input_ids[:1, :SMALL_LENGTH], token_type_ids[:1, :SMALL_LENGTH], 0
        yield input_ids, token_type_ids, len(input_ids)


def _within_bounds(parity: Parity) -> Parity:
    # Written so that NaN fails too.
    if not parity.largest <= LARGEST_DIFFERENCE:
        raise ParityError(
            f"the export must compute what the supernet computes, to {LARGEST_DIFFERENCE:.0e}; "
            f"{parity}; nothing was written; please report this"
        )
    return parity


def _logits(
    model: BertForSequenceClassification,
    input_ids: np.ndarray,
    token_type_ids: np.ndarray,
    subnet: Subnet | None = None,
) -> np.ndarray:
    with paddle.no_grad():
        output = model(
            paddle.to_tensor(input_ids, dtype="int64"),
            paddle.to_tensor(token_type_ids, dtype="int64"),
            subnet=subnet,
        )
    return output.logits.numpy()
