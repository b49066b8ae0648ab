import numpy as np
import paddle
import pytest

from ofa_bert.errors import InputError
from ofa_bert.nn.bert import BertForSequenceClassification, init_weights
from ofa_bert.subnet import Subnet, full_subnet, subnet_at_width
from tests import oracles
from tests.tiny import tiny_batch, tiny_config, tiny_model

# float32 against float64 over a few layers of numbers near 1.
TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}


def tensors(batch):
    return {name: paddle.to_tensor(values) for name, values in batch.items()}


@pytest.mark.parametrize("num_heads", [4, 12])
def test_forward_equals_numpy(num_heads):
    model, batch = tiny_model(tiny_config(num_heads)), tiny_batch()
    output = model(**tensors(batch))
    logits, hidden_states = oracles.bert_of(model, batch)
    np.testing.assert_allclose(output.logits.numpy(), logits, **TOLERANCE)
    for ours, theirs in zip(output.hidden_states, hidden_states, strict=True):
        for row, expected in enumerate(theirs):
            np.testing.assert_allclose(ours.numpy()[row, : len(expected)], expected, **TOLERANCE)


def test_head_mask_multiplies_the_probabilities_of_each_head():
    model, batch = tiny_model(), tiny_batch()
    head_mask = [np.array([1.0, 0.5, 0.0, 2.0]), np.array([0.3, 1.0, 1.0, 0.0])]
    output = model(**tensors(batch), head_mask=[paddle.to_tensor(m, "float32") for m in head_mask])
    logits, _ = oracles.bert_of(model, batch, head_mask)
    np.testing.assert_allclose(output.logits.numpy(), logits, **TOLERANCE)


def in_training(hidden, attention):
    """Give a model in training mode; dropout of rate 1 turns all it is on into 0."""
    rates = {"hidden_dropout_prob": hidden, "attention_probs_dropout_prob": attention}
    model = tiny_model(tiny_config(**rates))
    model.train()
    return model


def test_attention_dropout_is_on_the_probabilities():
    model, batch = in_training(hidden=0.0, attention=1.0), tiny_batch()
    output = model(**tensors(batch))
    logits, hidden_states = oracles.bert_of(model, batch, head_mask=[np.zeros(4)] * 2)
    np.testing.assert_allclose(output.logits.numpy(), logits, **TOLERANCE)
    for ours, theirs in zip(output.hidden_states, hidden_states, strict=True):
        for row, expected in enumerate(theirs):
            np.testing.assert_allclose(ours.numpy()[row, : len(expected)], expected, **TOLERANCE)


def test_hidden_dropout_is_on_the_embeddings_both_parts_of_a_layer_and_the_pooled_token():
    model = in_training(hidden=1.0, attention=0.0)
    output = model(**tensors(tiny_batch()))
    w, eps = oracles.weights_of(model), model.config.layer_norm_eps
    embeddings, *outputs = (states.numpy() for states in output.hidden_states)
    assert not embeddings.any()
    x = np.zeros(model.config.hidden_size)
    for layer, found in enumerate(outputs):
        # Attention and FFN add nothing to what comes in: two norms are left.
        for norm in ("norm1", "norm2"):
            name = f"bert.encoder.layers.{layer}.{norm}"
            x = oracles.layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"], eps)
        np.testing.assert_allclose(found, np.broadcast_to(x, found.shape), **TOLERANCE)
    bias = np.broadcast_to(w["classifier.bias"], output.logits.shape)
    np.testing.assert_array_equal(output.logits.numpy(), bias)


def test_the_classifiers_own_dropout_is_on_the_pooled_token_alone():
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model, batch = tiny_model(tiny_config(classifier_dropout=1.0, **rates)), tiny_batch()
    model.train()
    output = model(**tensors(batch))
    bias = np.broadcast_to(model.classifier.bias.numpy(), output.logits.shape)
    np.testing.assert_array_equal(output.logits.numpy(), bias)
    _, hidden_states = oracles.bert_of(model, batch)
    for ours, theirs in zip(output.hidden_states, hidden_states, strict=True):
        np.testing.assert_allclose(ours.numpy()[0], theirs[0], **TOLERANCE)


def test_masks_and_segments_are_found_from_the_ids_when_left_out():
    model, batch = tiny_model(), tiny_batch()
    batch["token_type_ids"][:] = 0
    given = model(**tensors(batch)).logits.numpy()
    found = model(paddle.to_tensor(batch["input_ids"])).logits.numpy()
    np.testing.assert_array_equal(given, found)


def test_padding_changes_nothing():
    model, batch = tiny_model(), tiny_batch(batch=2, seq_len=6)
    padded = {k: np.pad(v, [(0, 0), (0, 9)]) for k, v in batch.items()}
    short, long = model(**tensors(batch)).logits, model(**tensors(padded)).logits
    # Not bit for bit: the longer product may be summed in another order.
    np.testing.assert_allclose(short.numpy(), long.numpy(), rtol=1e-5, atol=1e-6)


def test_the_full_subnet_is_the_model():
    model, batch = tiny_model(), tensors(tiny_batch())
    full = model(**batch, subnet=full_subnet(model.config))
    np.testing.assert_array_equal(full.logits.numpy(), model(**batch).logits.numpy())


@pytest.mark.parametrize("width_mult", [0.75, 0.6, 0.5, 0.3, 0.1])
def test_gradients_touch_only_the_prefix_that_a_width_uses(width_mult):
    model = tiny_model()
    subnet = subnet_at_width(model.config, width_mult)
    output = model(**tensors(tiny_batch()), subnet=subnet)
    (output.logits**2).sum().backward()
    features = subnet.num_heads[0] * model.config.head_dim
    neurons = subnet.num_neurons[0]
    for layer in model.bert.encoder.layers:
        attention = layer.self_attn
        cut = [
            (projection.weight.grad.numpy().T, features)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        ]
        cut += [
            (attention.q_proj.bias.grad.numpy(), features),
            (attention.v_proj.bias.grad.numpy(), features),
            (attention.out_proj.weight.grad.numpy(), features),
            (layer.linear1.weight.grad.numpy().T, neurons),
            (layer.linear1.bias.grad.numpy(), neurons),
            (layer.linear2.weight.grad.numpy(), neurons),
        ]
        for grad, used in cut:
            assert np.abs(grad[used:]).max(initial=0.0) == 0.0
            assert np.abs(grad[:used]).min() > 0.0


def test_two_threads_may_run_two_widths_of_one_supernet():
    from concurrent.futures import ThreadPoolExecutor

    model, batch = tiny_model(), tensors(tiny_batch())
    subnets = [subnet_at_width(model.config, w) for w in (1.0, 0.75, 0.5, 0.25)] * 8
    alone = [model(**batch, subnet=s).logits.numpy() for s in subnets[:4]] * 8

    def run(subnet):
        with paddle.no_grad():
            return model(**batch, subnet=subnet).logits.numpy()

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(run, subnets))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_subnet_of_another_model_is_refused():
    model = tiny_model()
    with pytest.raises(InputError, match="layer 0 has 4 heads"):
        model(**tensors(tiny_batch()), subnet=Subnet((0, 1), (5, 1), (1, 1)))


def test_fresh_weights_are_a_function_of_the_seed():
    config = tiny_config(num_layers=4, initializer_range=0.05)
    models = [BertForSequenceClassification(config) for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        init_weights(model, seed)
    first, same, other = (oracles.weights_of(model) for model in models)
    for name, values in first.items():
        np.testing.assert_array_equal(values, same[name])
        if values.ndim == 2:
            assert not np.array_equal(values, other[name])
        elif name.endswith("bias"):
            assert np.all(values == 0.0)
        else:
            assert np.all(values == 1.0)
    drawn = np.concatenate([v.ravel() for v in first.values() if v.ndim == 2])
    # The standard deviation of n draws is off by about 1 / sqrt(2 n).
    assert drawn.std() == pytest.approx(0.05, rel=5 / np.sqrt(2 * drawn.size))
