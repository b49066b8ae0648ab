"""Scores of a network, or of sub-networks of it, on labelled rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import paddle

from ofa_bert.data.batches import evaluation_batches, memory_told
from ofa_bert.data.encoded import EncodedDataset
from ofa_bert.distributed import ALONE, Ranks, gather_rows
from ofa_bert.metrics import compute_metrics, score
from ofa_bert.nn.bert import BertForSequenceClassification
from ofa_bert.nn.mode import evaluating
from ofa_bert.scores import Scores
from ofa_bert.subnet import Subnet

EVALUATION_BATCH_SIZE = 64
LESS_MEMORY = "free memory, or lower --max_seq_length"
"""What to do where a batch of so many rows does not fit: no flag makes it smaller."""


def predict_logits(
    model: BertForSequenceClassification,
    dataset: EncodedDataset,
    *,
    subnet: Subnet | None = None,
    batch_size: int = EVALUATION_BATCH_SIZE,
    ranks: Ranks = ALONE,
) -> np.ndarray:
    """Run a network over a data set in eval mode.

    Args:
        model: its mode is left as found.
        dataset: the rows.
        subnet: what to use of the model; default everything.
        batch_size: rows of one forward.
        ranks: processes that share the work; each gets all the answers.

    Returns:
        float32 ``[rows, num_classes]``, in the order of ``dataset``.
    """
    logits, indices = [], []
    with evaluating(model), paddle.no_grad():
        for number, batch in enumerate(evaluation_batches(dataset, batch_size)):
            if number % ranks.size != ranks.rank:
                continue
            with memory_told([batch], "evaluating", LESS_MEMORY):
                output = model(
                    batch.input_ids, batch.token_type_ids, batch.attention_mask, subnet=subnet
                )
            logits.append(output.logits.numpy())
            indices.append(batch.indices)
    return gather_rows(
        np.concatenate([np.zeros((0, model.config.num_classes), "float32"), *logits]),
        np.concatenate([np.zeros(0, "int64"), *indices]),
        ranks,
    )


def evaluate_model(
    model: BertForSequenceClassification,
    dev: Mapping[str, EncodedDataset],
    metrics: Sequence[str],
    *,
    subnet: Subnet | None = None,
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """Compute a task's metrics on its development sets.

    Args:
        model: the network.
        dev: data sets by name; with more than one (MNLI), metrics are named ``metric_name``.
        metrics: names that ``metrics.compute_metrics`` knows.
        subnet: what to use of the model; default everything.
        ranks: processes that share the work.

    Returns:
        The metrics, and their mean as ``score`` (GLUE's convention).
    """
    found = {}
    for name, dataset in dev.items():
        logits = predict_logits(model, dataset, subnet=subnet, ranks=ranks)
        values = compute_metrics(metrics, logits, dataset.labels, dataset.positive_class)
        for metric, value in values.items():
            found[metric if len(dev) == 1 else f"{metric}_{name}"] = value
    return {**found, "score": score(found)}


def evaluate_subnets(
    model: BertForSequenceClassification,
    dev: Mapping[str, EncodedDataset],
    metrics: Sequence[str],
    subnets: Mapping[str, Subnet],
    ranks: Ranks = ALONE,
) -> Scores:
    """Compute the metrics of each named sub-network."""
    return {
        name: evaluate_model(model, dev, metrics, subnet=subnet, ranks=ranks)
        for name, subnet in subnets.items()
    }
