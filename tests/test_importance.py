from itertools import pairwise

import numpy as np
import pytest

from ofa_bert.data.batches import make_batch
from ofa_bert.distill import losses
from ofa_bert.errors import InputError
from ofa_bert.importance import score_importance
from tests.oracles import bert_of, log_softmax
from tests.tiny import tiny_config, tiny_dataset, tiny_model


def batches_of(dataset, *sizes):
    starts = np.cumsum([0, *sizes])
    return [make_batch(dataset, np.arange(a, b)) for a, b in pairwise(starts)]


def numpy_loss(model, batch, head_mask):
    arrays = {
        name: getattr(batch, name).numpy()
        for name in ("input_ids", "token_type_ids", "attention_mask")
    }
    logits, _ = bert_of(model, arrays, head_mask)
    labels = batch.labels.numpy()
    if model.config.is_regression:
        return ((logits[:, 0] - labels) ** 2).mean()
    return -log_softmax(logits)[np.arange(len(labels)), labels].mean()


@pytest.mark.parametrize("num_classes", [3, 1])
def test_head_importance_equals_finite_differences(num_classes):
    model = tiny_model(tiny_config(num_classes=num_classes))
    batches = batches_of(tiny_dataset(5, num_classes=num_classes), 3, 2)
    found = score_importance(model, batches).heads
    step = 1e-5
    for layer in range(2):
        for head in range(4):
            expected = 0.0
            for batch in batches:
                masks = {sign: [np.ones(4), np.ones(4)] for sign in (1, -1)}
                for sign, mask in masks.items():
                    mask[layer][head] += sign * step
                up, down = (numpy_loss(model, batch, masks[sign]) for sign in (1, -1))
                expected += abs(up - down) / (2 * step)
            # float32 gradients against float64 central differences.
            assert found[layer][head] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_neuron_importance_equals_numpy_on_fresh_gradients():
    model = tiny_model()
    batches = batches_of(tiny_dataset(7), 3, 3, 1)
    expected = [np.zeros(24), np.zeros(24)]
    for batch in batches:
        output = model(batch.input_ids, batch.token_type_ids, batch.attention_mask)
        losses.cross_entropy(output.logits, batch.labels, len(batch.indices)).backward()
        for layer, block in enumerate(model.bert.encoder.layers):
            w1, b1, w2 = (
                (p.numpy().astype("float64"), p.grad.numpy().astype("float64"))
                for p in (block.linear1.weight, block.linear1.bias, block.linear2.weight)
            )
            first = (w1[0] * w1[1]).sum(0) + b1[0] * b1[1]
            second = (w2[0] * w2[1]).sum(1)
            expected[layer] += np.abs(first) + np.abs(second)
        model.clear_gradients()
    found = score_importance(model, batches).neurons
    for layer in range(2):
        np.testing.assert_allclose(found[layer], expected[layer], rtol=1e-3, atol=1e-6)


def test_importance_does_not_depend_on_batch_order():
    model = tiny_model()
    batches = batches_of(tiny_dataset(9), 3, 2, 4)
    forwards, backwards = score_importance(model, batches), score_importance(model, batches[::-1])
    for one, other in zip(
        [*forwards.heads, *forwards.neurons], [*backwards.heads, *backwards.neurons], strict=True
    ):
        # The same numbers, added in another order in float64.
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_scoring_leaves_the_model_as_it_was():
    model = tiny_model()
    model.train()
    model.classifier.bias.stop_gradient = True
    before = {name: p.numpy() for name, p in model.named_parameters()}
    score_importance(model, batches_of(tiny_dataset(4), 4))
    assert model.training
    for name, parameter in model.named_parameters():
        assert parameter.grad is None
        assert parameter.stop_gradient is (name == "classifier.bias")
        np.testing.assert_array_equal(parameter.numpy(), before[name])


def test_dropout_is_off_while_scoring():
    model = tiny_model(tiny_config(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5))
    model.train()
    batches = batches_of(tiny_dataset(4), 4)
    first, second = (score_importance(model, batches) for _ in range(2))
    np.testing.assert_array_equal(first.heads[0], second.heads[0])


def test_no_examples_is_an_error():
    with pytest.raises(InputError, match="importance needs labelled examples; got none"):
        score_importance(tiny_model(), [])


def test_layers_may_differ_in_size():
    config = tiny_config(num_layers=1)
    config = type(config)(
        **{
            **config.__dict__,
            "num_attention_heads": (4, 2),
            "intermediate_size": (24, 5),
        }
    )
    scores = score_importance(tiny_model(config), batches_of(tiny_dataset(4), 4))
    assert [len(s) for s in scores.heads] == [4, 2]
    assert [len(s) for s in scores.neurons] == [24, 5]
    assert all(np.all(s > 0) for s in scores.heads)
