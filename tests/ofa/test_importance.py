"""Heads and neurons: what they are worth, by differences, and the best put first."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa.utils import nlp_utils
from tests.ofa.encoder import BATCHES, HEADS, LAYERS, NEURONS, converted, encoder, logits_of
from tests.ofa.oracles import original_weights
from tests.oracles import log_softmax
from tests.tiny import paddle

nn = paddle.nn


def scores_by_difference(model, ids, labels, layer, step=1e-5):
    """Central differences of the loss in a factor on each head and each neuron, in float64."""
    w = original_weights(model)
    masks = np.ones((LAYERS, HEADS)), np.ones((LAYERS, NEURONS))

    def loss():
        logits = logits_of(w, ids, HEADS, NEURONS, *masks)
        return -log_softmax(logits)[np.arange(len(labels)), labels].mean()

    scores = np.zeros(HEADS), np.zeros(NEURONS)
    for mask, found in zip(masks, scores, strict=True):
        for i in range(len(found)):
            values = []
            for sign in (1, -1):
                mask[layer, i] = 1 + sign * step
                values.append(loss())
            mask[layer, i] = 1
            found[i] = (values[0] - values[1]) / (2 * step)
    return scores


@pytest.mark.parametrize("is_converted", [False, True])
def test_importance_is_the_sum_of_each_batchs_own_gradients(is_converted):
    model = converted(encoder()) if is_converted else encoder()
    heads, neurons = nlp_utils.compute_neuron_head_importance(
        "sst-2", model, BATCHES, num_layers=LAYERS, num_heads=HEADS
    )
    assert heads.shape == [LAYERS, HEADS]
    for layer in range(LAYERS):
        signed = [
            scores_by_difference(model, ids.numpy(), labels.numpy(), layer)
            for ids, _, labels in BATCHES
        ]
        expected = sum(np.abs(head) for head, _ in signed)
        np.testing.assert_allclose(heads[layer].numpy(), expected, rtol=1e-3, atol=1e-5)
        # The part after the activation; the part before it is checked by the weights below.
        after = sum(np.abs(neuron) for _, neuron in signed)
        assert (neurons[layer] >= after - 1e-5).all()
    assert all(p.grad is None for p in model.parameters())


def test_neuron_importance_is_of_weights_times_gradients():
    model = encoder()
    _, neurons = nlp_utils.compute_neuron_head_importance("x", model, BATCHES[:1], LAYERS, HEADS)
    ids, types, labels = BATCHES[0]
    nn.functional.cross_entropy(model(ids, types), labels).backward()
    for layer, scores in zip(model.encoder.layers, neurons, strict=True):
        w1, b1, w2 = layer.linear1.weight, layer.linear1.bias, layer.linear2.weight
        before = (w1.numpy() * w1.grad.numpy()).sum(0) + b1.numpy() * b1.grad.numpy()
        after = (w2.numpy() * w2.grad.numpy()).sum(1)
        np.testing.assert_allclose(scores, np.abs(before) + np.abs(after), rtol=1e-3, atol=1e-6)


def test_importance_of_named_inputs_and_of_two_loaders():
    model = encoder()
    one, _ = nlp_utils.compute_neuron_head_importance("x", model, BATCHES, LAYERS, HEADS)
    named = [{"input_ids": i, "token_type_ids": t, "labels": y} for i, t, y in BATCHES]
    loaders = (named[:1], named[1:])
    other, _ = nlp_utils.compute_neuron_head_importance("mnli", model, loaders, LAYERS, HEADS)
    np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 3}, r"2 layers of \[4, 4\] heads; got 3 and 4"),
        ({"num_heads": 2}, "got 2 and 2"),
        ({"intermediate_name": "lin"}, "name 0 pairs"),
        ({"data_loader": []}, "data_loader gave no batch"),
    ],
)
def test_importance_of_what_is_not_there(changes, message):
    given = {"data_loader": BATCHES, "num_layers": LAYERS, "num_heads": HEADS, **changes}
    with pytest.raises(InputError, match=message):
        nlp_utils.compute_neuron_head_importance("x", encoder(), **given)


@pytest.mark.parametrize("is_converted", [False, True])
def test_reordering_changes_nothing_and_puts_the_best_first(is_converted):
    model = converted(encoder()) if is_converted else encoder()
    ids, types, _ = BATCHES[0]
    expected = model(ids, types).numpy()
    heads, neurons = nlp_utils.compute_neuron_head_importance("x", model, BATCHES, LAYERS, HEADS)
    old = {name: p.numpy() for name, p in model.named_parameters()}
    nlp_utils.reorder_neuron_head(model, heads, neurons)
    np.testing.assert_allclose(model(ids, types).numpy(), expected, atol=1e-5)
    again = nlp_utils.compute_neuron_head_importance("x", model, BATCHES, LAYERS, HEADS)
    for layer in range(LAYERS):
        np.testing.assert_allclose(again[0][layer].numpy(), -np.sort(-heads[layer].numpy()), 1e-3)
        np.testing.assert_allclose(again[1][layer], -np.sort(-neurons[layer]), rtol=1e-3, atol=1e-6)
    moved = {n for n, p in model.named_parameters() if not np.array_equal(p.numpy(), old[n])}
    kinds = ("q_proj", "k_proj", "v_proj", "out_proj", "linear1", "linear2")
    assert moved
    assert all(any(kind in name for kind in kinds) for name in moved)
    assert not any("out_proj" in name and "bias" in name for name in moved)
    assert not any("linear2" in name and "bias" in name for name in moved)


def test_a_reordering_that_fails_moves_nothing():
    model = encoder()
    old = {name: p.numpy() for name, p in model.named_parameters()}
    heads = np.arange(LAYERS * HEADS).reshape(LAYERS, HEADS)
    with pytest.raises(InputError, match=r"index must order all .* neurons"):
        nlp_utils.reorder_neuron_head(model, heads, [np.arange(2)] * LAYERS)
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.numpy(), old[name])


def test_an_order_by_hand():
    linear = nn.Linear(3, 2)
    weight, bias = linear.weight.numpy(), np.array([1.0, 2.0], "float32")
    linear.bias.set_value(bias)
    nlp_utils.reorder_neuron(linear, [1, 0], dim=1)
    np.testing.assert_array_equal(linear.weight.numpy(), weight[:, [1, 0]])
    np.testing.assert_array_equal(linear.bias.numpy(), bias[[1, 0]])
    nlp_utils.reorder_neuron(linear, paddle.to_tensor([2, 0, 1]))
    np.testing.assert_array_equal(linear.weight.numpy(), weight[:, [1, 0]][[2, 0, 1]])
    np.testing.assert_array_equal(linear.bias.numpy(), bias[[1, 0]])
    with pytest.raises(InputError, match=r"order all 3 neurons, each once; got \[0, 0, 1\]"):
        nlp_utils.reorder_neuron(linear, [0, 0, 1])
    with pytest.raises(InputError, match=r"takes a paddle.nn.MultiHeadAttention; got a Linear"):
        nlp_utils.reorder_head(linear, [0])
