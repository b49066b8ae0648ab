"""An exported network is plain, equals the supernet at its configuration, and trains on."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Block, Convert, RunConfig, layers, supernet, utils
from tests.ofa.chain import CONFIG, Chain
from tests.ofa.oracles import conv, original_weights
from tests.ofa.residual import IMAGES, SMALL, TIED, Residual, by_hand, residual
from tests.ofa.values import draw, randomised
from tests.ofa.words import IDS, Words
from tests.tiny import paddle

nn = paddle.nn
ELASTIC = tuple(getattr(layers, name) for name in layers.__all__)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    ("config", "sizes", "kernels"),
    [
        ({}, (8, 12, 8, 6), {}),
        (SMALL, (4, 6, 4, 3), {"stem": 3, "depthwise": 3, "up": 3}),
        (
            {"expand": {"expand_ratio": 0.3}, "grouped": {"kernel_size": 3}},
            (8, 4, 8, 6),  # 3.6 of 12
            {"grouped": 3},
        ),
    ],
)
def test_a_whole_network_is_the_one_cut_by_hand(config, sizes, kernels, train):
    ofa = OFA(residual(), TIED)
    ofa.set_net_config(config)
    ofa.train() if train else ofa.eval()
    expected = by_hand(ofa.model, IMAGES.numpy(), *sizes, kernels, train)
    np.testing.assert_allclose(ofa(IMAGES).numpy(), expected, atol=1e-4, rtol=1e-4)


def is_plain(network):
    return not any(isinstance(layer, (Block, *ELASTIC)) for layer in network.sublayers())


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2D, nn.BatchNorm, nn.InstanceNorm2D, nn.SyncBatchNorm]
)
@pytest.mark.parametrize("config", [{}, SMALL], ids=["full", "small"])
@pytest.mark.filterwarnings("ignore:When training, we now always track")
def test_a_convolutional_network(config, norm):
    ofa = OFA(residual(norm), TIED)
    before = {name: p.numpy() for name, p in ofa.state_dict().items()}
    small = ofa.export(config, [[1, 3, 8, 8]], ["float32"])
    assert is_plain(small)
    ofa.set_net_config(config)
    ofa.eval()
    expected = ofa(IMAGES).numpy()
    np.testing.assert_allclose(small(IMAGES).numpy(), expected, atol=1e-5, rtol=1e-5)
    for name, parameter in ofa.state_dict().items():
        np.testing.assert_array_equal(parameter.numpy(), before[name])
    if config:
        assert small.stem.weight.shape == [4, 3, 3, 3]
        assert small.depthwise.weight.shape == [6, 1, 3, 3]
        assert small.depthwise._groups == 6
        assert small.grouped.weight.shape == [4, 1, 5, 5]
        assert small.up.weight.shape == [4, 3, 3, 3]
        assert small.instance.scale.shape == [3]
        assert small.head.weight.shape == [3, 5]
    trains_on(small, IMAGES)


def trains_on(network, x):
    """Take steps until the loss has clearly gone down, with every parameter moving."""
    network.train()
    # A bias before a norm has no effect, and no gradient.
    before = {name: p.numpy() for name, p in network.named_parameters() if p.ndim > 1}
    optimizer = paddle.optimizer.Adam(1e-2, parameters=network.parameters())
    losses = []
    for _ in range(15):
        loss = ((network(x) - 1.0) ** 2).mean()
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert losses[-1] < 0.8 * losses[0]
    after = dict(network.named_parameters())
    assert all(np.abs(after[name].numpy() - old).max() > 0 for name, old in before.items())


def test_an_export_is_saved_and_loaded_by_paddle(tmp_path):
    ofa = OFA(residual(), TIED)
    small = ofa.export(SMALL, [[1, 3, 8, 8]], ["float32"])
    expected = small(IMAGES).numpy()
    path = str(tmp_path / "model")
    spec = [paddle.static.InputSpec([None, 3, 8, 8], "float32")]
    paddle.jit.save(small, path, spec)
    loaded = paddle.jit.load(path)
    np.testing.assert_allclose(loaded(IMAGES).numpy(), expected, atol=1e-5)
    assert paddle.in_dynamic_mode()


@pytest.mark.parametrize("heads", [0.25, 0.6, 1.0])
def test_a_network_with_attention_and_a_layer_used_twice(heads):
    model = Convert(supernet(expand_ratio=[0.25, 1.0])).convert(randomised(Words()))
    ofa = OFA(model)
    config = {f"attention.{name}_proj": {"expand_ratio": heads} for name in "qkv"}
    small = ofa.export(config, input_shapes=[[2, 3]], input_dtypes=["int64"])
    assert is_plain(small)
    assert small.attention.num_heads == {0.25: 1, 0.6: 2, 1.0: 4}[heads]  # 2.4 of 4 heads are 2
    assert small.twice is small.again
    ofa.set_net_config(config)
    ofa.eval()
    np.testing.assert_allclose(small(IDS).numpy(), ofa(IDS).numpy(), atol=1e-6)
    trains_on(small, IDS)


def test_parameters_shared_by_layers_stay_shared():
    model = Chain()
    model.middle[1].weight = model.middle[0].weight
    Convert(supernet(expand_ratio=[0.5, 1.0])).convert(model)
    half = {name: {"expand_ratio": 0.5} for name in CONFIG}
    small = OFA(model).export(half, [[1, 4]], "float32")
    assert small.middle[1].weight is small.middle[0].weight
    assert small.middle[2].weight is not small.middle[0].weight


def test_convolutions_that_share_a_weight_have_their_own_smaller_kernels():
    model = nn.Sequential(nn.Conv2D(3, 3, 5, padding=2), nn.Conv2D(3, 3, 5), nn.Conv2D(3, 2, 1))
    model[1].weight = model[0].weight
    ofa = OFA(randomised(Convert(supernet(kernel_size=(3, 5))).convert(model)))
    w = original_weights(ofa.model)

    def kernel(number, size):
        if size == 5:
            return w["0.weight"]
        centre = w["0.weight"][:, :, 1:4, 1:4].reshape(3, 3, 9)
        return np.pad(
            (centre @ w[f"{number}.5to3_matrix"]).reshape(3, 3, 3, 3), [(0, 0)] * 2 + [(1, 1)] * 2
        )

    x = draw(2, 3, 8, 8)
    for first, second in itertools.product((3, 5), repeat=2):
        config = {"0": {"kernel_size": first}, "1": {"kernel_size": second}}
        small = ofa.export(config, [[1, 3, 8, 8]], ["float32"])
        expected = conv(x, kernel(0, first), w["0.bias"], padding=2)
        expected = conv(expected, kernel(1, second), w["1.bias"])
        expected = conv(expected, w["2.weight"], w["2.bias"])
        np.testing.assert_allclose(
            small(paddle.to_tensor(x)).numpy(), expected, atol=1e-4, rtol=1e-5
        )
        assert (small[0].weight is small[1].weight) == (first == second == 5)


def test_both_published_orders_and_an_original_network_cut_in_place():
    original = randomised(Residual())
    ofa = OFA(residual(), TIED)
    expected = ofa.export(SMALL, [[1, 3, 8, 8]], ["float32"])(IMAGES).numpy()
    for cut in (
        lambda net: ofa.export(net, SMALL, [1, 3, 8, 8], ["float32"]),
        lambda net: ofa.export(net, SMALL, input_shapes=[1, 3, 8, 8], input_dtypes=["float32"]),
        lambda net: ofa.export(SMALL, [[1, 3, 8, 8]], ["float32"], net),
        lambda net: ofa.export(
            SMALL, input_shapes=[[1, 3, 8, 8]], input_dtypes=["float32"], origin_model=net
        ),
    ):
        network = copy.deepcopy(original)
        assert cut(network) is network
        np.testing.assert_allclose(network(IMAGES).numpy(), expected, atol=1e-6)
    own = ofa.export(original, SMALL, [1, 3, 8, 8], ["float32"], load_weights_from_supernet=False)
    source = randomised(Residual())
    np.testing.assert_array_equal(own.head.weight.numpy(), source.head.weight.numpy()[:3])
    np.testing.assert_array_equal(own.up.weight.numpy(), source.up.weight.numpy()[:4, :3])


def test_the_inputs_of_the_last_forward_do():
    ofa = OFA(residual(), TIED)
    ofa.set_net_config(SMALL)
    ofa(IMAGES)
    assert ofa.export(ofa.get_current_config).stem.weight.shape == [4, 3, 3, 3]


def test_an_export_leaves_the_random_state():
    ofa = OFA(residual(), TIED)
    paddle.seed(3)
    expected = paddle.rand([2]).numpy()
    paddle.seed(3)
    ofa.export(SMALL, [[1, 3, 8, 8]], ["float32"])
    np.testing.assert_array_equal(paddle.rand([2]).numpy(), expected)


def test_an_export_leaves_the_mode_of_every_layer():
    ofa = OFA(residual(), TIED)
    ofa.train()
    ofa.model.norm.eval()
    ofa.export(SMALL, [[1, 3, 8, 8]], ["float32"])
    assert ofa.model.stem.training
    assert not ofa.model.norm.training


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda ofa: ofa.export({}),
            r"give input_shapes and input_dtypes, e.g. \[\[1, 3, 32, 32\]\]",
        ),
        (lambda ofa: ofa.export(), "export needs a config.*got None"),
        (lambda ofa: ofa.export({}, shapes=[1]), "no argument 'shapes'"),
        (lambda ofa: ofa.export({}, [1], config={}), "export got config twice"),
        (lambda ofa: ofa.export({}, [[1, 3], "x"], ["float32"] * 2), "input_shapes must be"),
        (lambda ofa: ofa.export({}, [[1, 3]], ["float99"]), "cannot build an input of shape"),
        (
            lambda ofa: ofa.export({}, [[1, 3]], ["float32"] * 2),
            "one entry for each of the 1 inputs",
        ),
        (lambda ofa: ofa.export({"stme": {}}, [[1, 3]]), "no elastic layer 'stme'"),
        (
            lambda ofa: ofa.export(Chain(), {}, [1, 3, 8, 8]),
            "the network that was converted, before that; only one of the two has",
        ),
        (
            lambda ofa: ofa.export({}, [1, 3], origin_model="x"),
            "the network that was converted, before that; got 'x'",
        ),
        (
            lambda ofa: ofa.export({}, {"a": [1], "b": [1]}, {"a": "float32"}),
            "a type for each input; 'b' has none",
        ),
    ],
)
def test_a_wrong_call_is_one_line(call, message):
    ofa = OFA(residual(), TIED)
    before = ofa.get_current_config
    with pytest.raises(InputError, match=message) as caught:
        call(ofa)
    assert "\n" not in str(caught.value)
    assert ofa.get_current_config == before


def test_a_layer_used_at_two_widths_cannot_be_plain():
    class Twice(nn.Layer):
        def __init__(self):
            super().__init__()
            self.narrow = nn.Linear(4, 4)
            self.shared = nn.Linear(4, 4)
            self.last = nn.Linear(4, 4)

        def forward(self, x):
            return self.last(self.shared(x) + self.shared(self.narrow(x)))

    model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(Twice())
    ofa = OFA(model, RunConfig(same_search_space=[]))
    with pytest.raises(InputError, match=r"shared is used twice with different widths"):
        ofa.export({"narrow": {"expand_ratio": 0.5}}, [[2, 4]], ["float32"])


def test_inputs_of_every_published_form():
    assert utils.build_input([2, 3], "float32").shape == [2, 3]
    ids = utils.build_input([2, 3], ["int64"])
    assert ids.dtype == paddle.int64
    assert ids.max().item() == 0
    both = utils.build_input([[1, 2], {"a": [3], "b": [4, 5]}], ["float32", "int64"])
    assert both[0].shape == [1, 2]
    assert both[1]["b"].dtype == paddle.int64
    named = utils.build_input({"x": [1, 2]}, ["float32"])
    assert list(named) == ["x"]


def test_two_inputs_in_a_dict():
    class Two(nn.Layer):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(3, 4), nn.Linear(2, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, inputs):
            return self.head(self.left(inputs["a"]) + self.right(inputs["b"]))

    model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(Two())
    ofa = OFA(model, RunConfig(same_search_space=[["left", "right"]]))
    ofa.set_net_config({"left": {"expand_ratio": 0.5}})
    small = ofa.export(ofa.get_current_config, {"a": [1, 3], "b": [1, 2]}, ["float32"])
    batch = {"a": paddle.to_tensor(draw(5, 3)), "b": paddle.to_tensor(draw(5, 2))}
    np.testing.assert_allclose(small(batch).numpy(), ofa(batch).numpy(), atol=1e-6)
    assert small.right.weight.shape == [2, 2]
