"""Published networks as they are: what is joined is found, drawn together and exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Convert, RunConfig, supernet
from ofa_bert.ofa.budget import count_params, within_params
from tests.ofa.encoder import BATCHES, converted, encoder
from tests.ofa.residual import IMAGES, Residual
from tests.ofa.values import draw
from tests.tiny import paddle

nn = paddle.nn
models = paddle.vision.models
PIXELS = paddle.to_tensor(draw(1, 3, 32, 32))


def agrees_with_its_export(ofa, *inputs, tolerance=1e-5):
    config = ofa.get_current_config
    small = ofa.export(config)
    ofa.set_net_config(config)
    ofa.eval()
    expected, found = ofa(*inputs), small(*inputs)
    ofa.set_net_config(None)
    ofa.train()
    for one, other in zip(
        *(out if isinstance(out, list) else [out] for out in (found, expected)), strict=True
    ):
        scale = max(1.0, np.abs(other.numpy()).max())
        np.testing.assert_allclose(one.numpy() / scale, other.numpy() / scale, atol=tolerance)
    return small


@pytest.mark.parametrize(
    ("build", "free"),
    [
        # Every pointwise convolution and the stem; a depthwise one is as wide as what feeds it.
        (lambda: models.mobilenet_v1(scale=0.25, num_classes=4), 14),
        # 17 expansions less the first block's, which has none; the stem; 7 widths of block outputs
        # and the last convolution.
        pytest.param(
            lambda: models.mobilenet_v2(scale=0.5, num_classes=4), 25, marks=pytest.mark.slow
        ),
        # The stem, two convolutions within each of 16 blocks, and the outputs of 4 stages.
        pytest.param(lambda: models.resnet50(num_classes=4), 37, marks=pytest.mark.slow),
        # The stem, which the first stage adds to; within 8 blocks; the outputs of 3 stages.
        pytest.param(lambda: models.resnet18(num_classes=4), 12, marks=pytest.mark.slow),
    ],
    ids=["mobilenet_v1", "mobilenet_v2", "resnet50", "resnet18"],
)
@pytest.mark.filterwarnings("ignore:When training, we now always track")
def test_published_networks(build, free):
    np.random.seed(1)
    model = build()
    ofa = OFA(Convert(supernet(expand_ratio=[0.25, 0.5, 1.0])).convert(model))
    for _ in range(2):
        assert ofa(PIXELS).shape == [1, 4]
    assert len(ofa.ofa_layers) == free
    small = agrees_with_its_export(ofa, PIXELS)
    assert count_params(small) < count_params(model)


class Skipping(nn.Layer):
    """A shortcut around as many of two layers as ``depth`` says."""

    def __init__(self):
        super().__init__()
        self.short = nn.Linear(4, 8)
        self.layers = nn.LayerList([nn.Linear(4, 8), nn.Linear(8, 8)])
        self.out = nn.Linear(8, 2)

    def forward(self, x, **settings):
        y = x
        for layer in self.layers[: settings.get("depth")]:
            y = paddle.tanh(layer(y))
        return self.out(y + self.short(x))


def test_what_is_joined_at_any_depth_is():
    np.random.seed(1)
    model = Convert(supernet(expand_ratio=[0.25, 0.5, 1.0])).convert(Skipping())
    ofa = OFA(model, RunConfig(elastic_depth=[1, 2]))
    for _ in range(20):
        assert ofa(paddle.to_tensor(draw(3, 4))).shape == [3, 2]
    # With one layer it is the first that meets the shortcut, with two it is the second.
    assert list(ofa.ofa_layers) == ["short", "depth"]
    ofa.set_net_config({"short": {"expand_ratio": 0.5}})
    config = ofa.get_current_config
    assert [config[f"layers.{number}"]["expand_ratio"] for number in (0, 1)] == [0.5, 0.5]


def test_the_documented_configuration_of_a_depthwise_layer():
    """Their page on ``set_net_config`` names a convolution and the depthwise one after it."""
    network = nn.Sequential(
        nn.Conv2D(3, 4, 3), nn.Conv2D(4, 4, 3, groups=4), nn.Conv2D(4, 4, 1), nn.Conv2D(4, 2, 1)
    )
    ofa = OFA(Convert(supernet(expand_ratio=[1, 2, 4])).convert(network))
    first, depthwise = (network[number].key for number in (0, 1))
    ofa.set_net_config({first: {"expand_ratio": 2}, depthwise: {"expand_ratio": 2}})
    small = ofa.export(ofa.get_current_config, [1, 3, 8, 8], ["float32"])
    assert [small[number].weight.shape[0] for number in (0, 1)] == [8, 8]
    ofa.trace(PIXELS)
    ofa.set_net_config({depthwise: {"expand_ratio": 1}})
    assert ofa.get_current_config["0"] == {"expand_ratio": 1}
    with pytest.raises(InputError, match=r"0 and 1 must have one width, .* got 2 and 1"):
        ofa.set_net_config({first: {"expand_ratio": 2}, depthwise: {"expand_ratio": 1}})
    with pytest.raises(InputError, match="expand_ratio of 0 must be at most 4"):
        ofa.set_net_config({depthwise: {"expand_ratio": 5}})


def test_layers_joined_by_a_residual_and_by_groups():
    np.random.seed(1)
    space = supernet(kernel_size=(3, 5), expand_ratio=[0.3, 0.5, 0.7, 1.0])
    ofa = OFA(Convert(space).convert(Residual()))
    seen = set()
    for _ in range(12):
        ofa(IMAGES)
        config = ofa.get_current_config
        ratio = config["stem"]["expand_ratio"]
        assert config["project"]["expand_ratio"] == config["grouped"]["expand_ratio"] == ratio
        small = agrees_with_its_export(ofa, IMAGES)
        # 8 channels, of which the grouped convolution takes multiples of 4.
        seen.add((ratio, small.stem.weight.shape[0]))
    assert seen == {(0.3, 4), (0.5, 4), (0.7, 4), (1.0, 8)}
    assert set(ofa.ofa_layers) == {"stem", "expand", "depthwise", "grouped", "up"}
    assert "expand_ratio" not in ofa.ofa_layers["grouped"]


class Exits(nn.Layer):
    """Two inputs in a dict and two outputs."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2D(3, 8, 1), nn.Conv2D(1, 8, 1)
        self.middle = nn.Conv2D(8, 8, 3, padding=1)
        self.early, self.late = nn.Linear(8, 4), nn.Linear(8, 5)

    def forward(self, inputs):
        x = self.left(inputs["colour"]) + self.right(inputs["depth"])
        y = nn.functional.relu(self.middle(x))
        return [self.early(x.mean([2, 3])), self.late(y.mean([2, 3]))]


def test_two_exits_and_two_inputs():
    ofa = OFA(Convert(supernet(expand_ratio=[0.25, 0.5, 1.0])).convert(Exits()))
    inputs = {
        "colour": paddle.to_tensor(draw(2, 3, 5, 5)),
        "depth": paddle.to_tensor(draw(2, 1, 5, 5)),
    }
    for _ in range(4):
        assert [out.shape for out in ofa(inputs)] == [[2, 4], [2, 5]]
        agrees_with_its_export(ofa, inputs)
    assert list(ofa.ofa_layers) == ["left", "middle"]


def test_a_transformer_whose_hidden_width_is_elastic_too():
    np.random.seed(2)
    ofa = OFA(converted(encoder()))
    ids, types, _ = BATCHES[0]
    drawn = set()
    for _ in range(6):
        assert ofa(ids, token_type_ids=types).shape == [3, 3]
        drawn.add(ofa.get_current_config["embed"]["expand_ratio"])
        agrees_with_its_export(ofa, ids)
    assert len(drawn) > 1
    heads = [f"encoder.layers.{layer}.self_attn.q_proj" for layer in range(2)]
    assert all(name in ofa.ofa_layers for name in heads)


def test_what_is_fixed_cannot_be_set_once_it_is_known():
    class Plain(nn.Layer):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 6), nn.Linear(4, 6)

        def forward(self, x):
            return self.one(x), self.two(x)

    ofa = OFA(Convert(supernet(expand_ratio=[0.5, 1.0])).convert(Plain()))
    assert list(ofa.ofa_layers) == ["one"]  # the last layer made has no choice to begin with
    ofa.trace(paddle.static.InputSpec([1, 4], "float32"))
    assert ofa.ofa_layers == {}
    with pytest.raises(InputError, match="one must keep its full width"):
        ofa.set_net_config({"one": {"expand_ratio": 0.5}})


def parameters(stem, middle):
    """Count those of ``Exits`` by hand: weights and biases."""
    inputs = (3 + 1) * stem + 2 * stem
    return inputs + stem * middle * 9 + middle + (stem + 1) * 4 + (middle + 1) * 5


def test_search_finds_the_best_that_fits_and_leaves_what_was_set():
    model = Convert(supernet(expand_ratio=[0.25, 0.5, 1.0])).convert(Exits())
    ofa = OFA(model)
    inputs = {"colour": PIXELS[:, :, :5, :5], "depth": PIXELS[:, :1, :5, :5]}
    ofa.set_net_config({"left": {"expand_ratio": 0.5}})
    ofa.trace(inputs)
    before = ofa.get_current_config
    assert before["right"] == {"expand_ratio": 0.5}

    def score(owner, config):
        assert owner is ofa
        assert owner.get_current_config == config
        assert config["left"] == config["right"]
        return config["left"]["expand_ratio"] + 0.1 * config["middle"]["expand_ratio"]

    config, value = ofa.search(score, lambda c: c["left"]["expand_ratio"] <= 0.5)
    assert (config["left"]["expand_ratio"], config["middle"]["expand_ratio"]) == (0.5, 1.0)
    assert value == pytest.approx(0.6)
    assert ofa.get_current_config == before
    ofa(inputs)
    limit = count_params(ofa.export({"left": {"expand_ratio": 0.5}}))
    config, value = ofa.search(score, within_params(limit, ofa.export))
    assert count_params(ofa.export(config)) <= limit
    fitting = [
        left + 0.1 * middle
        for left in (0.25, 0.5, 1.0)
        for middle in (0.25, 0.5, 1.0)
        if parameters(8 * left, 8 * middle) <= limit
    ]
    assert limit == parameters(4, 8)
    assert value == pytest.approx(max(fitting))


@pytest.mark.parametrize("narrowed", ["left", "right"])
def test_choices_by_hand_of_one_of_two_layers_that_are_joined(narrowed):
    np.random.seed(3)
    run = RunConfig(ofa_layers={narrowed: {"expand_ratio": [0.25, 0.5]}})
    ofa = OFA(Convert(supernet(expand_ratio=[0.25, 0.5, 1.0])).convert(Exits()), run)
    inputs = {"colour": PIXELS[:, :, :5, :5], "depth": PIXELS[:, :1, :5, :5]}
    drawn = set()
    for _ in range(12):
        assert [out.shape for out in ofa(inputs)] == [[1, 4], [1, 5]]
        config = ofa.get_current_config
        assert config["left"] == config["right"]
        drawn.add(config["left"]["expand_ratio"])
    assert drawn == {0.25, 0.5}
    ofa.set_net_config({})
    ofa(inputs)
    # 8 channels, of which half is the largest choice that both have.
    assert count_params(ofa.export({})) == parameters(4, 8)


class DepthwiseFirst(nn.Layer):
    """A depthwise convolution made before the one that feeds it."""

    def __init__(self):
        super().__init__()
        self.depthwise = nn.Conv2D(8, 8, 3, padding=1, groups=8)
        self.feeds = nn.Conv2D(3, 8, 1)
        self.out = nn.Conv2D(8, 2, 1)

    def forward(self, x):
        return self.out(self.depthwise(self.feeds(x)))


def test_a_depthwise_layer_made_first_leaves_the_choice_to_what_feeds_it():
    space = supernet(kernel_size=(3, 5), expand_ratio=[0.25, 0.5, 1.0])
    ofa = OFA(Convert(space).convert(DepthwiseFirst()))
    ofa.trace(IMAGES)
    assert ofa.ofa_layers == {
        "depthwise": {"kernel_size": [3, 5]},
        "feeds": {"expand_ratio": [0.25, 0.5, 1.0]},
    }
    smallest = ofa.sample_config("smallest")
    small = ofa.export(smallest, [1, 3, 8, 8], ["float32"])
    assert small.depthwise.weight.shape == [2, 1, 3, 3]  # a quarter of 8


def test_ties_by_hand_are_not_traced():
    ofa = OFA(
        Convert(supernet(expand_ratio=[0.5, 1.0])).convert(Exits()),
        RunConfig(same_search_space=[["left", "right"]], skip_layers=["middle"]),
    )
    assert list(ofa.ofa_layers) == ["left", "early"]


def test_a_network_with_synchronised_norms_is_traced():
    ofa = OFA(Convert(supernet(expand_ratio=[0.5, 1.0])).convert(Residual(nn.SyncBatchNorm)))
    assert ofa(IMAGES).shape == [2, 5]
    assert "expand" in ofa.ofa_layers


def test_the_example_of_the_document_runs():
    document = Path(__file__).parents[2] / "docs" / "ofa.md"
    code = document.read_text(encoding="utf-8").split("```python")[1].split("```")[0]
    np.random.seed(0)
    net = nn.Sequential(
        nn.Conv2D(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2D(4, 8, 1),
        nn.Flatten(),
        nn.Linear(128, 2),
    )
    batch = (paddle.to_tensor(draw(4, 1, 4, 4)), paddle.to_tensor([0, 1, 1, 0]))
    names = {
        "net": net,
        "batches": [batch],
        "criterion": nn.CrossEntropyLoss(),
        "accuracy": lambda ofa: (ofa(batch[0]).argmax(-1) == batch[1]).sum().item() / 4,
        "spec": paddle.static.InputSpec([1, 1, 4, 4], "float32"),
    }
    exec(code, names)
    assert 0 <= names["score"] <= 1
    assert names["small"](batch[0]).shape == [4, 2]
    assert names["ofa"].task == ["kernel_size", "width"]
    matrix = dict(names["net"].named_parameters())["0.fn.5to3_matrix"].numpy()
    assert np.abs(matrix - np.eye(9)).max() > 0  # the optimiser has it
