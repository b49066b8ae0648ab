import numpy as np
import paddle
import pytest

from ofa_bert.errors import InputError
from ofa_bert.importance import Importance
from ofa_bert.reordering import Permutation, importance_order, reorder
from tests.oracles import weights_of
from tests.tiny import tiny_batch, tiny_config, tiny_model


def orders(sizes, generator, shuffle):
    return tuple(generator.permutation(n) if shuffle else np.arange(n) for n in sizes)


@pytest.mark.parametrize(("heads", "neurons"), [(True, False), (False, True), (True, True)])
def test_reordering_changes_no_logit_and_no_hidden_state(heads, neurons):
    config = tiny_config(num_layers=3)
    model, generator = tiny_model(config), np.random.default_rng(1)
    batch = {name: paddle.to_tensor(values) for name, values in tiny_batch().items()}
    before = model(**batch)
    permutation = Permutation(
        orders(config.num_attention_heads, generator, heads),
        orders(config.intermediate_size, generator, neurons),
    )
    reorder(model, permutation)
    after = model(**batch)
    # float32, and sums now run in another order.
    for x, y in zip(
        [before.logits, *before.hidden_states], [after.logits, *after.hidden_states], strict=True
    ):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-5, atol=1e-5)
    moved, original = weights_of(model), weights_of(tiny_model(config))
    assert any(not np.array_equal(moved[name], original[name]) for name in moved)


def test_a_permutation_says_where_each_head_and_neuron_came_from():
    config = tiny_config(num_heads=3, head_dim=2, num_neurons=4, num_layers=1)
    model, original = tiny_model(config), tiny_model(config)
    reorder(model, Permutation((np.array([2, 0, 1]),), (np.array([3, 1, 0, 2]),)))
    moved, source = model.bert.encoder.layers[0], original.bert.encoder.layers[0]
    # Head 2, features 4 and 5, comes first.
    features = [4, 5, 0, 1, 2, 3]
    for name in ("q_proj", "k_proj", "v_proj"):
        new, old = getattr(moved.self_attn, name), getattr(source.self_attn, name)
        np.testing.assert_array_equal(new.weight.numpy(), old.weight.numpy()[:, features])
        np.testing.assert_array_equal(new.bias.numpy(), old.bias.numpy()[features])
    new, old = moved.self_attn.out_proj, source.self_attn.out_proj
    np.testing.assert_array_equal(new.weight.numpy(), old.weight.numpy()[features])
    np.testing.assert_array_equal(new.bias.numpy(), old.bias.numpy())
    neurons = [3, 1, 0, 2]
    new, old = moved.linear1, source.linear1
    np.testing.assert_array_equal(new.weight.numpy(), old.weight.numpy()[:, neurons])
    np.testing.assert_array_equal(new.bias.numpy(), old.bias.numpy()[neurons])
    new, old = moved.linear2, source.linear2
    np.testing.assert_array_equal(new.weight.numpy(), old.weight.numpy()[neurons])
    np.testing.assert_array_equal(new.bias.numpy(), old.bias.numpy())


def test_the_most_important_come_first_and_ties_keep_their_order():
    order = importance_order(
        Importance((np.array([0.1, 3.0, 0.1]),), (np.array([1.0, 2.0, 2.0, 0.0]),))
    )
    assert order.heads[0].tolist() == [1, 0, 2]
    assert order.neurons[0].tolist() == [1, 2, 0, 3]


@pytest.mark.parametrize("heads", [[0, 1, 2, 2], [0, 1, 2]])
def test_what_is_no_permutation_is_refused(heads):
    config = tiny_config(num_layers=1)
    with pytest.raises(InputError, match=r"permutation of heads must order \[4\] of them"):
        reorder(tiny_model(config), Permutation((np.array(heads),), (np.arange(24),)))
