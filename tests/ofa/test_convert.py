"""Conversion carries weights over and changes nothing at full size."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import BaseBlock, Block, Convert, supernet, utils
from ofa_bert.ofa import layers as L
from ofa_bert.ofa.active import running
from tests.ofa.residual import IMAGES, Residual
from tests.ofa.values import draw, randomised
from tests.ofa.words import IDS, Words
from tests.tiny import paddle

nn = paddle.nn


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("norm", [nn.BatchNorm2D, nn.BatchNorm, nn.InstanceNorm2D])
@pytest.mark.parametrize(
    "space",
    [
        supernet(expand_ratio=[0.5, 1.0]),
        supernet(kernel_size=(3, 5, 7)),
        supernet(kernel_size=3),
        supernet(kernel_size=(3, 5), expand_ratio=(0.25, 1.0)),
        supernet(channel=[(4, 8), (6, 12), 12, (4, 8), (4, 8), (2, 6), (5,)]),
    ],
    ids=["width", "kernel", "one kernel", "both", "channel"],
)
@pytest.mark.filterwarnings("ignore:When training, we now always track")
def test_a_converted_network_at_full_size_is_the_original(space, norm, train):
    original, model = randomised(Residual(norm)), randomised(Residual(norm))
    assert Convert(space).convert(model) is model
    for network in (original, model):
        network.train() if train else network.eval()
    expected = original(IMAGES).numpy()
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(model(IMAGES).numpy() / scale, expected / scale, atol=1e-6)
    after = original.state_dict()
    for name, parameter in model.state_dict().items():
        if name.endswith(("_mean", "_variance")):
            np.testing.assert_allclose(parameter.numpy(), after[name].numpy(), atol=1e-6)


@pytest.mark.filterwarnings("ignore:When training, we now always track")
def test_a_wider_supernet_holds_the_original():
    model = randomised(Residual())
    model.eval()
    expected = model(IMAGES).numpy()
    Convert(supernet(kernel_size=(3, 5), expand_ratio=(1, 2))).convert(model)
    assert model.stem.weight.shape == [16, 3, 5, 5]
    assert model.head.weight.shape == [12, 5]
    blocks = [layer for layer in model.sublayers() if isinstance(layer, Block)]
    original = {block: {"expand_ratio": 1} for block in blocks if block.candidate_config}
    for block in original:
        if "kernel_size" in block.candidate_config:
            # The matrices are the identity: the centre is the original kernel.
            original[block] = {"kernel_size": 3}
        if "expand_ratio" in block.candidate_config:
            original[block]["expand_ratio"] = 1
    with running(sizes=original):
        np.testing.assert_allclose(model(IMAGES).numpy(), expected, atol=2e-5, rtol=1e-5)


def test_a_wider_chain_computes_what_it_did_even_at_full_size():
    # Old outputs ignore new inputs.
    chain = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2))
    randomised(chain)
    x = paddle.to_tensor(draw(3, 4))
    expected = chain(x).numpy()
    Convert(supernet(expand_ratio=(1, 3))).convert(chain)
    assert chain[2].weight.shape == [18, 18]
    np.testing.assert_allclose(chain(x).numpy(), expected, atol=1e-6)


def test_words_at_full_size_and_tied_layers_stay_tied():
    model = randomised(Words())
    expected = model(IDS).numpy()
    before = {(id(p), p.name) for p in model.parameters()}
    Convert(supernet(expand_ratio=[0.5, 1.0])).convert(model)
    assert model.twice is model.again
    assert {(id(p), p.name) for p in model.parameters()} == before
    np.testing.assert_allclose(model(IDS).numpy(), expected, atol=1e-6)
    assert isinstance(model.attention, nn.MultiHeadAttention)
    assert isinstance(model.attention.q_proj, Block)


def test_parameters_shared_by_two_layers_stay_one_in_a_wider_supernet():
    class Tied(nn.Layer):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.one = nn.Linear(4, 4)
            self.other = nn.Linear(4, 4)
            self.other.weight = self.one.weight
            self.last = nn.Linear(4, 2)

    model = Convert(supernet(expand_ratio=(1, 2))).convert(randomised(Tied()))
    assert model.one.fn.weight is model.other.fn.weight
    assert model.one.fn.weight.shape == [8, 8]


def test_a_list_of_layers_and_the_context_manager():
    layers = [nn.Conv2D(3, 4, 3, padding=1), nn.BatchNorm2D(4), nn.ReLU(), nn.Conv2D(4, 4, 3)]
    with supernet(kernel_size=(3, 5), expand_ratio=(0.5, 1)) as context:
        converted = context.convert(layers)
    assert [type(layer) for layer in layers][::3] == [nn.Conv2D, nn.Conv2D]
    assert [type(layer).__name__ for layer in converted] == [
        "Block",
        "SuperBatchNorm2D",
        "ReLU",
        "Block",
    ]
    assert converted[0].candidate_config == {"expand_ratio": [0.5, 1], "kernel_size": [3, 5]}
    # The last layer's outputs are the network's.
    assert converted[3].candidate_config == {"kernel_size": [3, 5]}


def test_a_list_in_channels_grows_like_the_published_example():
    with supernet(kernel_size=(3, 5), channel=((4, 8, 12), (8, 12, 16), (8, 12, 16))) as context:
        first, norm, alone, last = context.convert(
            [
                nn.Conv2D(3, 4, 3),
                nn.BatchNorm2D(4),
                nn.Conv2D(4, 4, 3, groups=4),
                nn.Conv2D(4, 3, 1),
            ]
        )
    assert first.weight.shape == [12, 3, 5, 5]
    assert norm._mean.shape == [12]
    assert alone.weight.shape == [12, 1, 5, 5]
    assert last.weight.shape == [3, 12, 1, 1]
    assert isinstance(alone.fn, L.SuperDepthwiseConv2D)
    assert last.candidate_config == {}


@pytest.mark.parametrize(
    ("layer", "cls"),
    [
        (nn.Conv2D(4, 4, 3), L.SuperConv2D),
        (nn.Conv2D(4, 4, 3, groups=2), L.SuperGroupConv2D),
        (nn.Conv2D(4, 8, 3, groups=4), L.SuperDepthwiseConv2D),
        (nn.Conv2DTranspose(4, 4, 3), L.SuperConv2DTranspose),
        (nn.Conv2DTranspose(4, 4, 3, groups=2), L.SuperGroupConv2DTranspose),
        (nn.Conv2DTranspose(4, 4, 3, groups=4), L.SuperDepthwiseConv2DTranspose),
        (nn.Linear(4, 4), L.SuperLinear),
        (nn.Embedding(4, 4), L.SuperEmbedding),
        (nn.BatchNorm2D(4), L.SuperBatchNorm2D),
        (nn.BatchNorm1D(4), L.SuperBatchNorm1D),
        (nn.BatchNorm(4), L.SuperBatchNorm),
        (nn.SyncBatchNorm(4), L.SuperSyncBatchNorm),
        (nn.InstanceNorm2D(4), L.SuperInstanceNorm2D),
        (nn.LayerNorm(4), L.SuperLayerNorm),
        (nn.MultiHeadAttention(4, 2), L.SuperMultiHeadAttention),
    ],
    ids=lambda value: value.__class__.__name__ if isinstance(value, nn.Layer) else "",
)
def test_each_layer_becomes_its_elastic_one(layer, cls):
    elastic = Convert(supernet(expand_ratio=[0.5, 1.0])).convert([layer, nn.Linear(4, 1)])[0]
    assert type(elastic.fn if isinstance(elastic, Block) else elastic) is cls
    ids = [id(p) for p in layer.parameters()]
    assert [id(p) for p in elastic.parameters()][: len(ids)] == ids


def test_a_block_is_named_after_its_layer_or_itself():
    named = BaseBlock("linear_12")
    assert named.key == "linear_12"
    assert re.fullmatch(r"base_block_\d+", BaseBlock().key)
    assert BaseBlock().key != BaseBlock().key
    layer = nn.Linear(3, 4)
    (block, _) = Convert(supernet(expand_ratio=[1.0])).convert([layer, nn.Linear(4, 1)])
    assert isinstance(block, BaseBlock)
    assert block.key == layer.full_name()
    assert re.fullmatch(r"linear_\d+", block.key)


def test_a_block_shows_what_its_layer_has():
    model = Convert(supernet(expand_ratio=[1.0])).convert(nn.Sequential(nn.Linear(3, 4), nn.ReLU()))
    assert model[0].weight.dtype == paddle.float32
    assert model[0].bias is model[0].fn.bias
    with pytest.raises(AttributeError):
        _ = model[0].no_such_thing


def test_hooks_modes_and_optimiser_states_go_on():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    seen = []
    model[0].register_forward_post_hook(lambda layer, inputs, output: seen.append(output.shape))
    optimizer = paddle.optimizer.SGD(1.0, parameters=model.parameters())
    model.eval()
    Convert(supernet(expand_ratio=[0.5, 1.0])).convert(model)
    assert not model[0].fn.training
    before = model[0].weight.numpy()
    model(paddle.ones([1, 3])).sum().backward()
    optimizer.step()
    assert seen == [[1, 4]]
    assert np.abs(model[0].weight.numpy() - before).max() > 0


def test_weights_of_the_original_network_can_be_set_later():
    original, other = randomised(Residual()), Residual()
    Convert(supernet(kernel_size=(3, 5), expand_ratio=(1, 2))).convert(other)
    utils.set_state_dict(other, original.state_dict())
    stem = other.stem.weight.numpy()
    np.testing.assert_array_equal(stem[:8, :3, 1:4, 1:4], original.stem.weight.numpy())
    np.testing.assert_array_equal(other.norm._mean.numpy()[:8], original.norm._mean.numpy())
    converted = other.state_dict()
    copy = Convert(supernet(kernel_size=(3, 5), expand_ratio=(1, 2))).convert(Residual())
    utils.set_state_dict(copy, converted)
    np.testing.assert_array_equal(copy.up.weight.numpy(), other.up.weight.numpy())
    named = utils.remove_model_fn(original, converted)
    assert set(named) == set(original.state_dict())


def test_weights_that_do_not_fit_change_nothing():
    model = Convert(supernet(expand_ratio=[1.0])).convert(nn.Sequential(nn.Linear(3, 4)))
    before = model[0].weight.numpy()
    with pytest.raises(InputError, match=r"0.fn.bias is \[4\] in the supernet; got \[5\]"):
        utils.set_state_dict(model, {"0.weight": before * 2, "0.bias": np.ones(5, "float32")})
    np.testing.assert_array_equal(model[0].weight.numpy(), before)
    with pytest.raises(InputError, match=r"must hold weights of this network, e.g. '0.weight'"):
        utils.set_state_dict(model, {"x": before})
