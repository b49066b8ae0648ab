"""Conversion carries weights over and changes nothing at full size."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, BaseBlock, Block, Convert, supernet, utils
from ofa_bert.ofa import layers as L
from ofa_bert.ofa.active import running
from tests.test_ofa_layers import draw, randomised
from tests.tiny import paddle

nn = paddle.nn


class Residual(nn.Layer):
    """A stem, a residual block with a depthwise convolution, and a classifier."""

    def __init__(self, norm=nn.BatchNorm2D) -> None:
        super().__init__()
        self.stem = nn.Conv2D(3, 8, 3, padding=1)
        self.norm = norm(8)
        self.expand = nn.Conv2D(8, 12, 1, bias_attr=False)
        self.depthwise = nn.Conv2D(12, 12, 3, padding=1, groups=12)
        self.project = nn.Conv2D(12, 8, 1)
        self.grouped = nn.Conv2D(8, 8, 3, stride=2, groups=4)
        self.up = nn.Conv2DTranspose(8, 6, 3)
        self.instance = nn.InstanceNorm2D(6)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = nn.functional.relu(self.norm(self.stem(x)))
        x = x + self.project(nn.functional.relu(self.depthwise(self.expand(x))))
        x = self.instance(self.up(self.grouped(x)))
        return self.head(x.mean([2, 3]))


class Words(nn.Layer):
    """An embedding, attention, a LayerNorm, and a layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.attention = nn.MultiHeadAttention(8, 4)
        self.norm = nn.LayerNorm(8)
        self.twice = nn.Linear(8, 8)
        self.again = self.twice
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.norm(self.attention(self.embed(x)))
        return self.head(self.again(paddle.tanh(self.twice(x))))


IMAGES = paddle.to_tensor(draw(2, 3, 8, 8))
IDS = paddle.to_tensor([[1, 5, 0], [8, 2, 2]])


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


def test_kernels_of_one_even_ones_and_oblong_ones_have_no_choice():
    model = nn.Sequential(
        nn.Conv2D(2, 2, 1), nn.Conv2D(2, 2, 4), nn.Conv2D(2, 2, (3, 1)), nn.Conv2D(2, 2, 7)
    )
    Convert(supernet(kernel_size=(3, 5))).convert(model)
    assert [type(layer) for layer in model][:3] == [nn.Conv2D] * 3
    assert model[3].candidate_config == {"kernel_size": [3, 5, 7]}
    assert model[3].weight.shape[2:] == [7, 7]


@pytest.mark.parametrize("padding", [0, 1, [1, 2], [1, 0, 2, 1], "SAME"], ids=str)
@pytest.mark.parametrize("kernel", [(3, 5), (7, 1), (1, 3), 4], ids=str)
@pytest.mark.parametrize("cls", [nn.Conv2D, nn.Conv2DTranspose])
def test_oblong_and_even_kernels_compute_what_they_did(cls, kernel, padding):
    network = randomised(nn.Sequential(cls(3, 4, kernel, padding=padding), nn.Conv2D(4, 2, 1)))
    x = paddle.to_tensor(draw(1, 3, 9, 9))
    expected, first = network(x).numpy(), network[0](x).numpy()
    Convert(supernet(kernel_size=(3, 5), expand_ratio=[0.5, 1.0])).convert(network)
    np.testing.assert_allclose(network(x).numpy(), expected, atol=1e-5)
    half = network[0](x, expand_ratio=0.5).numpy()
    np.testing.assert_allclose(half, first[:, :2], atol=1e-5)
    plain = OFA(network).export({"0": {"expand_ratio": 0.5}}, [[1, 3, 9, 9]], "float32")
    np.testing.assert_allclose(plain[0](x).numpy(), first[:, :2], atol=1e-5)


PAIRS = [[0, 0], [0, 0], [0, 0], [2, 1]]


@pytest.mark.parametrize(
    "settings",
    [
        {"padding": 2},
        {"padding": [1, 2]},
        {"padding": [1, 2, 0, 1]},
        {"padding": PAIRS},
        {"padding": "SAME"},
        {"padding": "VALID"},
        {"padding": 1, "stride": 2, "dilation": 2},
        {"padding": [2, 0], "dilation": [1, 2]},
        {"padding": 1, "padding_mode": "reflect"},
        {"padding": 1, "padding_mode": "circular"},
    ],
    ids=str,
)
def test_a_kernel_grows_whatever_the_padding(settings):
    layers = [nn.Conv2D(3, 4, 3, **settings)]
    if "padding_mode" not in settings and settings["padding"] is not PAIRS:
        layers.append(nn.Conv2DTranspose(3, 4, 3, **settings))
    x = paddle.to_tensor(draw(1, 3, 9, 9))
    for layer in map(randomised, layers):
        expected = layer(x).numpy()
        (grown,) = Convert(supernet(kernel_size=(3, 5, 7))).convert([layer])
        assert grown.weight.shape[2:] == [7, 7]
        for sizes in ({}, {"kernel_size": 5}, {"kernel_size": 3}):
            np.testing.assert_allclose(grown(x, **sizes).numpy(), expected, atol=1e-5)
        plain = OFA(nn.Sequential(grown)).export(
            {"0": {"kernel_size": 3}}, [[1, 3, 9, 9]], "float32"
        )
        np.testing.assert_allclose(plain(x).numpy(), expected, atol=1e-5)


def test_what_cannot_be_converted_is_named_and_stays():
    class Own(nn.Linear):
        def forward(self, x):
            return super().forward(x) * 2

    model = nn.Sequential(nn.Linear(4, 4), Own(4, 4), nn.GroupNorm(2, 4), nn.Linear(4, 4))
    with pytest.warns(UserWarning, match=r"stay as they are: 1 \(Own\), 2 \(GroupNorm\)") as caught:
        Convert(supernet(expand_ratio=[0.5, 1.0])).convert(model)
    assert "\n" not in str(caught[0].message)
    assert [type(layer).__name__ for layer in model] == ["Block", "Own", "GroupNorm", "Block"]


def test_nothing_is_said_of_widths_where_only_kernels_change():
    model = nn.Sequential(nn.Conv2D(2, 4, 3), nn.GroupNorm(2, 4), nn.Conv2D(4, 2, 3))
    Convert(supernet(kernel_size=(3, 5))).convert(model)
    assert type(model[1]) is nn.GroupNorm


def test_attention_of_its_own_kind_keeps_its_projections():
    class Own(nn.MultiHeadAttention):
        def forward(self, x):
            return super().forward(x)

    model = nn.Sequential(nn.Linear(4, 4), Own(4, 2), nn.Linear(4, 4))
    with pytest.warns(UserWarning, match=r"1 \(Own\)"):
        Convert(supernet(expand_ratio=[0.5, 1.0])).convert(model)
    assert type(model[1].q_proj) is nn.Linear


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


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"expand_ratio": [0.25, 0.5]}, r"must hold 1.0, .*; type expand_ratio=\[0.25, 0.5, 1.0\]"),
        ({"expand_ratio": 0.5}, "must hold 1.0"),
        ({"expand_ratio": [0, 1]}, "fractions above 0"),
        ({"expand_ratio": [1], "channel": [(1,)]}, "not both"),
        ({"kernel_size": (3, 4)}, "must be odd numbers; got 4; use e.g. 5"),
        ({"kernel_size": (3.5,)}, "whole numbers; got 3.5"),
        ({"channel": [(0, 4)]}, "whole numbers above 0"),
        ({"channel": 5}, r"channel must be a list .* such as \[\(8, 16\), \(16, 32\)\]; got 5"),
        ({"channel": ["ab"]}, "each entry of channel must be numbers; got 'ab'"),
        ({"expand_ratio": "0.5"}, "expand_ratio must be numbers; got '0.5'"),
        ({"expand_ratio": [1, float("inf")]}, r"fractions above 0; got \[1, inf\]"),
        ({"kernel_size": 3.0}, "whole numbers; got 3.0"),
    ],
)  # fmt: skip
def test_a_space_that_makes_no_sense(space, message):
    with pytest.raises(InputError, match=message) as caught:
        supernet(**space)
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_numbers():
    space = supernet(kernel_size=np.array([5, 3]), expand_ratio=np.array([0.5, 1.0]))
    assert space == supernet(kernel_size=(3, 5), expand_ratio=(0.5, 1.0))
    assert type(space.kernel_size[0]) is int


@pytest.mark.parametrize(
    ("space", "network", "message"),
    [
        (
            nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)),
            [],
            "Convert takes a supernet.*; got a S",
        ),
        (supernet(expand_ratio=[1.0]), 5, "takes a network or a list of layers; got a int"),
    ],
)
def test_what_is_no_space_and_no_network(space, network, message):
    with pytest.raises(InputError, match=message) as caught:
        Convert(space).convert(network)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"channel": [(4,), (4,)]}, r"one list for each of the 3 .* layers; got 2"),
        (
            {"channel": [(2, 3), (4,), (2,)]},
            r"channel\[0\] must hold 4, all channels of 0; got \[2, 3\]; type \[2, 3, 4\]",
        ),
    ],
)
def test_a_space_that_does_not_fit_leaves_the_network_alone(space, message):
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    before = [id(layer) for layer in model.sublayers()]
    with pytest.raises(InputError, match=message):
        Convert(supernet(**space)).convert(model)
    assert [id(layer) for layer in model.sublayers()] == before


def test_converting_twice_and_converting_no_layers():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4))
    convert = Convert(supernet(expand_ratio=[0.5, 1.0])).convert
    convert(model)
    with pytest.raises(InputError, match="converted already: 0 is a Block; convert once"):
        convert(model)
    with pytest.raises(InputError, match="item 0 is a int"):
        convert([3])


def test_a_norm_over_two_axes_cannot_get_wider():
    with pytest.raises(InputError, match=r"normalises over \[6, 2\]; only one axis can get wider"):
        Convert(supernet(expand_ratio=(1, 2))).convert(
            [nn.Conv2D(1, 6, 1), nn.LayerNorm([6, 2]), nn.Conv2D(6, 1, 1)]
        )


@pytest.mark.parametrize("ratio", [1.5, 2])
def test_wider_groups_and_heads_must_be_whole(ratio):
    space = supernet(expand_ratio=(1, ratio))
    attention = [nn.Linear(6, 6), nn.MultiHeadAttention(6, 3), nn.Linear(6, 2)]
    if ratio == 2:
        assert Convert(space).convert(attention)[1].num_heads == 6
        return
    with pytest.raises(InputError, match=r"has 3 heads, of which expand_ratio 1.5 is no whole"):
        Convert(space).convert(attention)
    with pytest.raises(InputError, match=r"has 2 groups, which do not divide 9 channels"):
        Convert(space).convert(
            [nn.Conv2D(1, 6, 1), nn.Conv2D(6, 6, 1, groups=2), nn.Conv2D(6, 1, 1)]
        )


# State dicts


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
