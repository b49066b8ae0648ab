"""Importance of attention heads and FFN neurons, from the loss on labelled examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import paddle

from ofa_bert.data.batches import SMALLER_BATCHES, Batch, memory_told
from ofa_bert.distill import losses
from ofa_bert.errors import InputError
from ofa_bert.nn.bert import BertForSequenceClassification
from ofa_bert.nn.mode import evaluating
from ofa_bert.nn.placement import column_sums


@dataclass(frozen=True)
class Importance:
    """Scores, larger for what should be kept longer. One float64 array for each layer."""

    heads: tuple[np.ndarray, ...]
    """``[num_heads]`` each."""
    neurons: tuple[np.ndarray, ...]
    """``[num_neurons]`` each."""


def score_importance(model: BertForSequenceClassification, batches: Iterable[Batch]) -> Importance:
    """Score heads and neurons by what the loss would change without them, to first order.

    Summed over batches, with the gradients of each batch alone (DynaBERT, arXiv:2004.04037 §2.1;
    Michel et al., arXiv:1905.10650 §4.1):

    - head ``h``: ``|dL / d head_mask[h]|`` at ``head_mask = 1``;
    - neuron ``j``: ``|sum_i W1[i,j] dW1[i,j] + b1[j] db1[j]| + |sum_k W2[j,k] dW2[j,k]|``.

    With ``z = x W1 + b1`` and ``a = act(z)``, the sums over a neuron's weights are the sums over
    tokens of ``z_j dL/dz_j`` and of ``a_j dL/da_j``, so no weight's gradient is computed.

    Args:
        model: scored in eval mode; its mode, parameters and their ``.grad`` are left as found.
        batches: with labels. ``L`` is the mean loss of a batch.

    Raises:
        InputError: if there is no batch.
    """
    config = model.config
    heads = [np.zeros(count) for count in config.num_attention_heads]
    neurons = [np.zeros(count) for count in config.intermediate_size]
    loss_fn = losses.squared_error if config.is_regression else losses.cross_entropy
    num_batches = 0
    with _frozen_in_eval_mode(model):
        for batch in batches:
            with memory_told([batch], "scoring importance", SMALLER_BATCHES):
                scores = list(_batch_scores(model, batch, loss_fn))
            for layer, (head, before, after) in enumerate(scores):
                heads[layer] += np.abs(head)
                neurons[layer] += np.abs(before) + np.abs(after)
            num_batches += 1
    if num_batches == 0:
        raise InputError("importance needs labelled examples; got none; see --importance_split")
    return Importance(tuple(heads), tuple(neurons))


def _batch_scores(
    model: BertForSequenceClassification, batch: Batch, loss_fn: losses.LabelLoss
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Give the signed head, pre-activation and post-activation scores of each layer."""
    head_mask = [paddle.ones([count]) for count in model.config.num_attention_heads]
    for mask in head_mask:
        mask.stop_gradient = False
    output = model(batch.input_ids, batch.token_type_ids, batch.attention_mask, head_mask=head_mask)
    loss = loss_fn(output.logits, batch.labels, batch.input_ids.shape[0])
    before = [ffn.before for ffn in output.ffn_activations]
    after = [ffn.after for ffn in output.ffn_activations]
    # paddle.grad, not backward(): nothing stays in .grad to be added to the next batch's.
    grads = paddle.grad(loss, [*head_mask, *before, *after])
    num_layers = len(head_mask)
    for layer in range(num_layers):
        yield (
            grads[layer].numpy(),
            _token_sums(before[layer], grads[num_layers + layer]),
            _token_sums(after[layer], grads[2 * num_layers + layer]),
        )


def _token_sums(activations: paddle.Tensor, grads: paddle.Tensor) -> np.ndarray:
    """Sum the products of ``[batch, seq_len, num_neurons]`` over tokens: ``[num_neurons]``."""
    return column_sums((activations * grads).flatten(0, 1)).numpy()


@contextmanager
def _frozen_in_eval_mode(model: BertForSequenceClassification) -> Iterator[None]:
    """Spare the gradients of weights while scoring; a third of the work."""
    trained = [p for p in model.parameters() if not p.stop_gradient]
    for parameter in trained:
        parameter.stop_gradient = True
    try:
        with evaluating(model):
            yield
    finally:
        for parameter in trained:
            parameter.stop_gradient = False
