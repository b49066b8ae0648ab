from __future__ import annotations

import numpy as np
import pytest

from tests.tiny import tiny_batch, tiny_config, tiny_model

import paddle  # isort: skip

from ofa_bert.errors import InputError
from ofa_bert.extraction import extract, source_name
from ofa_bert.subnet import Subnet, count_params, full_subnet, subnet_at_width

HEADS = (4, 12, 16)
WIDTHS = [(n, kept / n) for n in HEADS for kept in range(1, n + 1)]
ODD_WIDTHS = [(n, width) for n in HEADS for width in (0.01, 0.3, 0.55, 0.7, 0.9)]


def run(model, batch, subnet=None):
    with paddle.no_grad():
        out = model(**{name: paddle.to_tensor(ids) for name, ids in batch.items()}, subnet=subnet)
    return [out.logits.numpy(), *(states.numpy() for states in out.hidden_states)]


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        # The same float32 products, which the library may add up in another order.
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def models():
    # 29 neurons: a prime, so that no width cuts them evenly.
    return {n: tiny_model(tiny_config(n, num_neurons=29), seed=n) for n in HEADS}


@pytest.mark.parametrize(("num_heads", "width_mult"), WIDTHS + ODD_WIDTHS)
def test_a_sliced_forward_equals_the_cut_sub_model(models, num_heads, width_mult):
    model = models[num_heads]
    subnet = subnet_at_width(model.config, width_mult)
    batch = tiny_batch(seed=num_heads)
    assert_same(run(extract(model, subnet), batch), run(model, batch, subnet))


@pytest.mark.parametrize("layers", [(0,), (3,), (0, 3), (1, 2), (0, 1, 3)])
def test_layers_left_out_are_left_out(layers):
    model = tiny_model(tiny_config(num_layers=4))
    subnet = Subnet(layers, tuple(3 - i for i in range(len(layers))), (11,) * len(layers))
    sub_model = extract(model, subnet)
    assert sub_model.config.num_layers == len(layers)
    assert_same(run(sub_model, tiny_batch()), run(model, tiny_batch(), subnet))


def test_weights_are_the_prefixes_of_the_kept_layers():
    model = tiny_model(tiny_config(num_layers=3))  # 4 heads of 3, hidden size 12, 24 neurons
    cut = dict(extract(model, Subnet((0, 2), (4, 3), (24, 10))).named_parameters())
    layer = dict(model.bert.encoder.layers[2].named_parameters())
    expected = {
        "self_attn.q_proj.weight": layer["self_attn.q_proj.weight"][:, :9],
        "self_attn.k_proj.bias": layer["self_attn.k_proj.bias"][:9],
        "self_attn.v_proj.weight": layer["self_attn.v_proj.weight"][:, :9],
        "self_attn.out_proj.weight": layer["self_attn.out_proj.weight"][:9, :],
        "self_attn.out_proj.bias": layer["self_attn.out_proj.bias"],
        "linear1.weight": layer["linear1.weight"][:, :10],
        "linear1.bias": layer["linear1.bias"][:10],
        "linear2.weight": layer["linear2.weight"][:10, :],
        "norm2.weight": layer["norm2.weight"],
    }
    for name, weight in expected.items():
        np.testing.assert_array_equal(cut[f"bert.encoder.layers.1.{name}"], weight.numpy())


def test_a_sub_model_is_cut_again_like_the_supernet():
    model = tiny_model(tiny_config(12))
    half, quarter = (subnet_at_width(model.config, width) for width in (0.5, 0.25))
    twice = extract(extract(model, half), quarter)
    assert_same(run(twice, tiny_batch()), run(model, tiny_batch(), quarter))


def test_the_source_stays_and_shares_nothing():
    model = tiny_model()
    model.train()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    sub_model = extract(model, full_subnet(model.config))
    with paddle.no_grad():
        for parameter in sub_model.parameters():
            parameter.zero_()
    assert model.training
    assert not sub_model.training
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_a_sub_model_can_be_trained():
    sub_model = extract(tiny_model(), subnet_at_width(tiny_config(), 0.5))
    assert all(not parameter.stop_gradient for parameter in sub_model.parameters())


@pytest.mark.parametrize("width_mult", [1.0, 0.5, 0.25])
def test_count_params_counts_what_is_there(width_mult):
    model = tiny_model(tiny_config(num_neurons=29))
    subnet = subnet_at_width(model.config, width_mult)
    sizes = [int(np.prod(p.shape)) for p in extract(model, subnet).parameters()]
    assert count_params(model.config, subnet) == sum(sizes)


def test_too_many_heads_are_refused():
    with pytest.raises(InputError, match="layer 1 has 4 heads; a sub-network keeps 1 to that"):
        extract(tiny_model(), Subnet((0, 1), (4, 5), (24, 24)))


def test_source_name_renumbers_only_encoder_layers():
    subnet = Subnet((0, 3), (1, 1), (1, 1))
    assert source_name("bert.encoder.layers.1.linear1.bias", subnet) == (
        "bert.encoder.layers.3.linear1.bias"
    )
    assert source_name("classifier.weight", subnet) == "classifier.weight"
