"""Which widths are one: published networks, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.ofa.graph import width_groups
from tests.ofa.graphs import IMAGE, conv, groups_of
from tests.tiny import paddle, randomise

nn = paddle.nn
InputSpec = paddle.static.InputSpec


def test_the_published_shortcut_network():
    """The network of PaddleSlim's tests/test_ofa_v2.py."""

    def unit(*layers):
        return nn.Sequential(*(part for c in layers for part in (c, nn.BatchNorm2D(12), nn.ReLU())))

    def run(net, x):
        x = net.conv1(x)
        y = x + net.branch1(x)
        return net.out(net.branch2(y) + y)

    layers = {
        "conv1": unit(conv(3, 12)),
        "branch1": unit(conv(12, 12), conv(12, 12, groups=12), conv(12, 12, groups=12)),
        "branch2": unit(conv(12, 12), conv(12, 12, groups=12), conv(12, 12)),
        "out": unit(conv(12, 12)),
    }
    shared = ["branch1.0", "branch1.3", "branch1.6", "branch2.6", "conv1.0"]
    assert groups_of(run, IMAGE, **layers) == ([shared, ["branch2.0", "branch2.3"]], ["out.0"])


def test_resnet50():
    """By hand: the last convolutions of a stage's blocks and its shortcut's meet in additions."""
    found = width_groups(paddle.vision.models.resnet50(pretrained=False), InputSpec([1, 3, 32, 32]))
    stages = [
        {f"layer{stage}.{block}.conv3" for block in range(blocks)}
        | {f"layer{stage}.0.downsample.0"}
        for stage, blocks in [(1, 3), (2, 4), (3, 6), (4, 3)]
    ]
    assert [set(tied) for tied in found.tied] == stages
    assert found.fixed == {"fc"}
    # 54 layers less one fixed: 33 alone and 4 groups, the 37 that PaddleSlim's test_ofa.py counts.
    assert 54 - 1 - sum(map(len, found.tied)) + len(found.tied) == 37


def test_mobilenet_v1():
    """Each of 13 depthwise convolutions is as wide as the one before it."""
    model = paddle.vision.models.mobilenet_v1(pretrained=False)
    found = width_groups(model, InputSpec([1, 3, 32, 32]))
    convs = [name for name, layer in model.named_sublayers() if isinstance(layer, nn.Conv2D)]
    # In order: conv1, then depthwise and pointwise in turn.
    assert sorted(map(sorted, found.tied)) == sorted(
        sorted(convs[i : i + 2]) for i in range(0, 26, 2)
    )
    assert found.fixed == {"fc"}


def test_mobilenet_v2():
    """17 depthwise convolutions with the ones before them; projections of 5 stages that add."""
    model = paddle.vision.models.mobilenet_v2(pretrained=False)
    found = width_groups(model, InputSpec([1, 3, 32, 32]))
    convs = [name for name, layer in model.named_sublayers() if isinstance(layer, nn.Conv2D)]
    # stem, depthwise, projection; then expansion, depthwise, projection 16 times; last.
    expected = [[convs[0], convs[1]]] + [[convs[i], convs[i + 1]] for i in range(3, 51, 3)]
    projections = iter(convs[2:51:3])
    for blocks in (1, 2, 3, 4, 3, 3, 1):
        stage = [next(projections) for _ in range(blocks)]
        expected += [stage] if blocks > 1 else []
    assert sorted(map(sorted, found.tied)) == sorted(map(sorted, expected))
    assert found.fixed == {"classifier.1"}


def test_a_network_with_two_exits_and_two_inputs_in_a_dict():
    def run(net, inputs):
        image = net.block(net.stem(inputs["image"]))
        text = net.words(inputs["ids"]).mean(1)
        early = net.early(image.mean([2, 3]) + text)
        return {"early": early, "late": [net.late(net.deep(image).flatten(1))]}

    layers = {"stem": conv(3, 4), "block": conv(4, 6), "words": nn.Embedding(9, 6)}
    layers |= {"early": nn.Linear(6, 2), "deep": conv(6, 5), "late": nn.Linear(5 * 64, 2)}
    inputs = {"image": paddle.ones([2, 3, 8, 8]), "ids": np.ones([2, 7], "int64")}
    expected = ([["block", "words"]], ["early", "late"])
    assert groups_of(run, (inputs,), **layers) == expected
    by_name = groups_of(
        lambda net, image, ids: run(net, {"image": image, "ids": ids}), inputs, **layers
    )
    assert by_name == expected


class Encoder(nn.Layer):
    """Embeddings, paddle's own transformer layers, a classifier of the first token."""

    def __init__(self, num_layers=2):
        super().__init__()
        self.words, self.positions = nn.Embedding(9, 8), nn.Embedding(6, 8)
        self.norm = nn.LayerNorm(8)
        layer = nn.TransformerEncoderLayer(8, 2, 12, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, num_layers)
        self.classifier = nn.Linear(8, 3)

    def forward(self, ids, mask=None):
        places = paddle.arange(ids.shape[1]).unsqueeze(0)
        x = self.norm(self.words(ids) + self.positions(places))
        return self.classifier(self.encoder(x, mask)[:, 0])


@pytest.mark.parametrize("mask", [None, InputSpec([2, 1, 1, 6], "float32")])
def test_a_transformer(mask):
    """Residuals tie all to the embeddings; heads tie q, k and v; the FFN is free."""
    found = width_groups(Encoder(), (InputSpec([2, 6], "int64"), mask))
    layers = [f"encoder.layers.{i}" for i in range(2)]
    hidden = {"words", "positions"}
    hidden |= {f"{layer}.{end}" for layer in layers for end in ("self_attn.out_proj", "linear2")}
    heads = [{f"{layer}.self_attn.{name}_proj" for name in "qkv"} for layer in layers]
    assert [set(tied) for tied in found.tied] == [hidden, *heads]
    assert found.fixed == {"classifier"}


def test_hidden_states_among_the_outputs_keep_the_hidden_size():
    def run(net, ids):
        hidden = net.words(ids)
        return hidden, net.out(net.a(hidden))

    layers = {"words": nn.Embedding(9, 8), "a": nn.Linear(8, 6), "out": nn.Linear(6, 2)}
    assert groups_of(run, InputSpec([2, 6], "int64"), **layers) == ([], ["out", "words"])


def test_the_network_is_left_as_it_was():
    model = Encoder()
    randomise(model)
    model.encoder.layers[1].eval()
    hook = model.words.register_forward_post_hook(lambda layer, inputs, output: output)
    before = {name: value.numpy() for name, value in model.state_dict().items()}
    modes = [layer.training for layer in model.sublayers()]
    attributes = [set(vars(layer)) for layer in model.sublayers(include_self=True)]
    random_state = paddle.get_rng_state()
    drawn = paddle.rand([4]).numpy()
    paddle.set_rng_state(random_state)
    width_groups(model, InputSpec([2, 6], "int64"))
    np.testing.assert_array_equal(paddle.rand([4]).numpy(), drawn)
    assert paddle.in_dynamic_mode()
    assert [layer.training for layer in model.sublayers()] == modes
    assert [set(vars(layer)) for layer in model.sublayers(include_self=True)] == attributes
    assert len(model.words._forward_post_hooks) == 1
    hook.remove()
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    assert model(paddle.ones([2, 6], "int64")).shape == [2, 3]
