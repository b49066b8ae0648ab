"""Importance of the heads and neurons of any transformer, from the loss on labelled examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ofa_bert.nn.mode import evaluating
from ofa_bert.ofa.outputs import bare
from ofa_bert.ofa.transformer import FeedForward, attentions, feed_forwards
from ofa_bert.rules import require

LossFunction = Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor]


def compute_neuron_head_importance(
    task_name: str,
    model: nn.Layer,
    data_loader: Iterable[Any],
    num_layers: int,
    num_heads: int,
    loss_fct: LossFunction | None = None,
    intermediate_name: str = "linear1",
    output_name: str = "linear2",
) -> tuple[paddle.Tensor, list[np.ndarray]]:
    """Score heads and neurons by what the loss would change without them, to first order.

    Summed over batches, with the gradients of each batch alone (DynaBERT, arXiv:2004.04037 §2.1):
    head ``|dL/d mask|`` of a factor on its probabilities; neuron
    ``|sum_i W1[i,j] dW1[i,j] + b1[j] db1[j]| + |sum_k W2[j,k] dW2[j,k]|``, which are the gradients
    of factors before and after the activation. The network is scored in eval mode; its modes,
    weights and ``.grad`` are left as found, converted or not.

    Args:
        task_name: ``mnli`` has a pair of loaders.
        model: called as ``model(input_ids, token_type_ids)``; gives logits, or a tuple of which
            they are the first.
        data_loader: batches ``(input_ids, token_type_ids, labels)``, or dicts with ``labels``.
        num_layers: attention layers of the network.
        num_heads: heads of each.
        loss_fct: of logits and labels; default cross entropy.
        intermediate_name: of the linear layer whose outputs are the neurons.
        output_name: of the linear layer whose inputs they are.

    Returns:
        float32 ``[num_layers, num_heads]``, and for each layer a float32 array of its neurons.

    Raises:
        InputError: if the network has other numbers of layers or heads, or there is no batch.
    """
    network = bare(model)
    layers = attentions(network)
    pairs = feed_forwards(network, intermediate_name, output_name)
    counts = [layer.num_heads for layer in layers]
    require(
        counts == [num_heads] * num_layers,
        f"num_layers and num_heads must be the network's: {len(counts)} layers of {counts} heads; "
        f"got {num_layers} and {num_heads}",
    )
    require(
        len(pairs) == num_layers,
        f"intermediate_name and output_name must name two linear layers of each layer; "
        f"{intermediate_name!r} and {output_name!r} name {len(pairs)} pairs",
    )
    loss_fct = loss_fct or nn.CrossEntropyLoss()
    loaders = data_loader if task_name.lower() == "mnli" else (data_loader,)
    factors = _factors(layers, pairs)
    scores = [np.zeros(factor.shape, "float32") for factor in factors]
    num_batches = 0
    with (
        evaluating(network),
        _frozen(network) as norms,
        _multiplied(layers, pairs, factors),
    ):
        for batch in (batch for loader in loaders for batch in loader):
            inputs, labels = _inputs_and_labels(batch)
            logits = model(*inputs[0], **inputs[1])
            logits = logits[0] if isinstance(logits, list | tuple) else logits
            # paddle.grad, not backward(): nothing stays in .grad to be added to the next batch's.
            wanted = [*factors, *norms]
            grads = paddle.grad(loss_fct(logits, labels), wanted, allow_unused=True)
            for score, grad in zip(scores, grads, strict=False):
                score += 0.0 if grad is None else np.abs(grad.numpy())
            num_batches += 1
    require(num_batches > 0, "importance needs labelled examples; data_loader gave no batch")
    heads, before, after = (scores[part::3] for part in range(3))
    neurons = [one + other for one, other in zip(before, after, strict=True)]
    return paddle.to_tensor(np.stack(heads)), neurons


def _factors(layers: Sequence[nn.Layer], pairs: Sequence[FeedForward]) -> list[paddle.Tensor]:
    """Give factors of one: for each layer of its heads, of its neurons before and after."""
    factors = []
    for layer, pair in zip(layers, pairs, strict=True):
        neurons = pair.first.weight.shape[1]
        for size in (layer.num_heads, neurons, neurons):
            factor = paddle.ones([size])
            factor.stop_gradient = False
            factors.append(factor)
    return factors


@contextmanager
def _multiplied(
    layers: Sequence[nn.Layer], pairs: Sequence[FeedForward], factors: Sequence[paddle.Tensor]
) -> Iterator[None]:
    """Put each factor where it acts: on a head's context, on neurons before and after.

    A head's context is its probabilities times its values, so a factor on one is one on the other.
    """
    hooks = []
    for number, (layer, pair) in enumerate(zip(layers, pairs, strict=True)):
        head, before, after = factors[3 * number : 3 * number + 3]
        hooks.append(layer.out_proj.register_forward_pre_hook(_times_heads(head, layer.head_dim)))
        hooks.append(pair.first.register_forward_post_hook(_times_output(before)))
        hooks.append(pair.second.register_forward_pre_hook(_times_input(after)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _times_heads(factor: paddle.Tensor, head_dim: int) -> Any:
    def hook(layer: nn.Layer, inputs: tuple[paddle.Tensor, ...]) -> paddle.Tensor:
        by_feature = factor.unsqueeze(-1).expand([-1, head_dim]).flatten()
        return inputs[0] * by_feature

    return hook


def _times_input(factor: paddle.Tensor) -> Any:
    return lambda layer, inputs: inputs[0] * factor


def _times_output(factor: paddle.Tensor) -> Any:
    return lambda layer, inputs, output: output * factor


@contextmanager
def _frozen(model: nn.Layer) -> Iterator[list[paddle.Tensor]]:
    """Spare the gradients of weights while scoring, a third of the work; give what is left.

    Paddle's LayerNorm gives a wrong gradient of its input where that of its weight is not asked
    for: those of LayerNorms must be.
    """
    before = [(parameter, parameter.stop_gradient) for parameter in model.parameters()]
    norms = [layer for layer in model.sublayers() if isinstance(layer, nn.LayerNorm)]
    asked = [p for norm in norms for p in norm.parameters()]
    for parameter, _ in before:
        parameter.stop_gradient = True
    for parameter in asked:
        parameter.stop_gradient = False
    try:
        yield asked
    finally:
        for parameter, stopped in before:
            parameter.stop_gradient = stopped


def _inputs_and_labels(batch: Any) -> tuple[tuple[list[Any], dict[str, Any]], Any]:
    """Split a batch into a network's arguments and the labels."""
    if isinstance(batch, Mapping):
        named = {name: value for name, value in batch.items() if name != "labels"}
        return ([], named), batch["labels"]
    *inputs, labels = batch
    return (inputs, {}), labels
