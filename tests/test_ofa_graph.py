from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_bert.errors import InputError
from tests.tiny import randomise

import paddle  # isort: skip
import paddle.nn.functional as F
from paddle import nn
from paddle.static import InputSpec

from ofa_bert import ofa as package
from ofa_bert.ofa import get_sub_model
from ofa_bert.ofa.graph import WIDE, WidthGroups, width_groups


class Net(nn.Layer):
    """A network of named layers and a function that runs them."""

    def __init__(self, run, **layers):
        super().__init__()
        for name, layer in layers.items():
            self.add_sublayer(name, layer)
        self.run = run
        self.layers = layers

    def forward(self, *inputs, **named):
        return self.run(self, *inputs, **named)


def groups_of(run, inputs, **layers):
    found = width_groups(Net(run, **layers), inputs)
    return sorted(sorted(tied) for tied in found.tied), sorted(found.fixed)


def conv(inputs, outputs, size=1, **options):
    return nn.Conv2D(inputs, outputs, size, padding=size // 2, **options)


IMAGE = InputSpec([2, 3, 8, 8], "float32")
ROWS = InputSpec([2, 3, 4], "float32")


def test_a_chain_ties_nothing_and_fixes_its_output():
    def run(net, x):
        x = F.relu(net.bn(net.a(x)))
        x = F.max_pool2d(net.b(x), 2)
        return net.fc(F.relu(net.hidden(x.flatten(1))))

    layers = {"a": conv(3, 4), "bn": nn.BatchNorm2D(4), "b": conv(4, 6)}
    layers |= {"hidden": nn.Linear(6 * 16, 5), "fc": nn.Linear(5, 2)}
    assert groups_of(run, IMAGE, **layers) == ([], ["fc"])


def test_a_residual_addition_ties_what_it_adds():
    def run(net, x):
        x = net.a(x)
        return net.out(x + net.c(net.b(x)))

    layers = {"a": conv(3, 4), "b": conv(4, 6), "c": conv(6, 4), "out": conv(4, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "c"]], ["out"])


def test_the_published_name_finds_the_same():
    def run(net, x):
        x = net.a(x)
        return net.out(x + net.c(net.b(x)))

    net = Net(run, a=conv(3, 4), b=conv(4, 6), c=conv(6, 4), out=conv(4, 2))
    for find in (package.check_search_space, get_sub_model.check_search_space):
        found = find(net, IMAGE)
        assert [sorted(tied) for tied in found.tied] == [["a", "c"]]
        assert sorted(found.fixed) == ["out"]


def test_additions_in_a_row_tie_all_of_them():
    def run(net, x):
        x = net.a(x)
        x = x + net.b(x)
        return net.out(x + net.c(x))

    layers = {"a": conv(3, 4), "b": conv(4, 4), "c": conv(4, 4), "out": conv(4, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "b", "c"]], ["out"])


def test_a_gate_ties_with_what_it_multiplies():
    def run(net, x):
        x = net.a(x)
        gate = F.sigmoid(net.wide(F.relu(net.narrow(F.adaptive_avg_pool2d(x, 1)))))
        return net.out(x * gate)

    layers = {"a": conv(3, 8), "narrow": conv(8, 2), "wide": conv(2, 8), "out": conv(8, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "wide"]], ["out"])


@pytest.mark.parametrize(
    "depthwise",
    [
        conv(8, 8, 3, groups=8),
        conv(8, 8, 3, groups=2),
        nn.Conv2DTranspose(8, 8, 3, groups=8),
        nn.Conv2DTranspose(8, 8, 3, groups=4),
    ],
)
def test_grouped_convolutions_are_as_wide_as_their_input(depthwise):
    def run(net, x):
        return net.out(net.bn(net.grouped(net.a(x))))

    layers = {"a": conv(3, 8), "grouped": depthwise, "bn": nn.BatchNorm2D(8), "out": conv(8, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "grouped"]], ["out"])


def test_a_grouped_convolution_of_another_size_keeps_both_widths():
    def run(net, x):
        return net.out(net.grouped(net.a(x)))

    layers = {"a": conv(3, 8), "grouped": conv(8, 16, groups=8), "out": conv(16, 2)}
    assert groups_of(run, IMAGE, **layers) == ([], ["a", "grouped", "out"])


def test_transposed_convolutions_have_a_width_of_their_own():
    def run(net, x):
        return net.out(net.b(net.a(x)) + net.c(x))

    layers = {"a": nn.Conv2DTranspose(3, 4, 1), "b": nn.Conv2DTranspose(4, 6, 1)}
    layers |= {"c": conv(3, 6), "out": conv(6, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["b", "c"]], ["out"])


def test_a_layer_called_twice_ties_what_feeds_it():
    def run(net, x):
        return net.out(net.twice(net.a(x)) + net.twice(net.b(x)))

    layers = {"a": conv(3, 4), "b": conv(3, 4), "twice": conv(4, 5), "out": conv(5, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "b"]], ["out"])


def test_a_layer_called_on_its_own_output_is_tied_with_its_input():
    def run(net, x):
        return net.out(net.again(net.again(net.a(x))))

    layers = {"a": conv(3, 4), "again": conv(4, 4), "out": conv(4, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "again"]], ["out"])


def test_a_shared_norm_ties_what_feeds_it():
    def run(net, x):
        return net.out(net.bn(net.a(x))), net.end(net.bn(net.b(x)))

    layers = {"a": conv(3, 4), "b": conv(3, 4), "bn": nn.BatchNorm2D(4)}
    layers |= {"out": conv(4, 2), "end": conv(4, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "b"]], ["end", "out"])


def test_a_shared_layer_norm_ties_what_feeds_it_over_one_axis_and_fixes_it_over_several():
    def run(net, x):
        return net.out(net.norm(net.a(x)) * net.norm(net.b(x)).mean(-1, True))

    layers = {"a": nn.Linear(4, 8), "b": nn.Linear(4, 8), "out": nn.Linear(8, 2)}
    assert groups_of(run, ROWS, **layers, norm=nn.LayerNorm(8)) == ([["a", "b"]], ["out"])
    whole = nn.LayerNorm([3, 8], weight_attr=False, bias_attr=False)
    assert groups_of(run, ROWS, **layers, norm=whole) == ([], ["a", "b", "out"])


def test_two_layers_with_one_weight_are_tied():
    first, second = nn.Linear(4, 6), nn.Linear(4, 6)
    second.weight = first.weight

    def run(net, x):
        return net.out(net.first(x)) + net.end(net.second(x))

    layers = {"first": first, "second": second, "out": nn.Linear(6, 2), "end": nn.Linear(6, 2)}
    found = groups_of(run, InputSpec([3, 4]), **layers)
    assert found == ([["first", "second"]], ["end", "out"])


def test_concatenated_and_split_channels_keep_their_widths():
    def run(net, x):
        joined = paddle.concat([net.a(x), net.b(x)], axis=1)
        left, right = paddle.split(net.c(joined), 2, axis=1)
        return net.out(left * right)

    layers = {"a": conv(3, 4), "b": conv(3, 5), "c": conv(9, 6), "out": conv(3, 2)}
    assert groups_of(run, IMAGE, **layers) == ([], ["a", "b", "c", "out"])


def test_concatenation_along_another_axis_ties():
    def run(net, x):
        return net.out(paddle.concat([net.a(x), net.b(x)], axis=2))

    layers = {"a": conv(3, 4), "b": conv(3, 4), "out": conv(4, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "b"]], ["out"])


def test_what_meets_an_input_or_a_fixed_parameter_keeps_its_width():
    class Fixed(nn.Layer):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = conv(3, 3), conv(3, 4), conv(4, 5)
            self.d, self.e, self.out = conv(5, 6), conv(6, 7), conv(7, 2)
            self.scale = self.create_parameter([4, 1, 1])
            self.register_buffer("shift", paddle.ones([1, 5, 1, 1]))

        def forward(self, x):
            x = self.b(x + self.a(x)) * self.scale
            x = self.d(self.c(x) + self.shift)
            return self.out(self.e(x + paddle.randn([2, 6, 1, 1])))

    found = width_groups(Fixed(), IMAGE)
    assert found == WidthGroups((), frozenset({"a", "b", "c", "d", "out"}))


def test_layers_that_are_not_elastic_keep_what_feeds_them():
    def run(net, x):
        x = net.gn(net.a(x))
        x = net.prelu(net.b(x))
        return net.c(net.line(x.flatten(2)).mean(-1))

    layers = {"a": conv(3, 4), "gn": nn.GroupNorm(2, 4), "b": conv(4, 5), "c": nn.Linear(6, 2)}
    layers |= {"prelu": nn.PReLU(5), "line": nn.Conv1D(5, 6, 3)}
    assert groups_of(run, IMAGE, **layers) == ([], ["a", "b", "c"])


def test_a_weight_that_other_code_reads_is_kept_whole():
    """Otherwise a decoder that multiplies by the embedding would meet fewer features."""

    def run(net, ids):
        hidden = net.b(net.a(net.words(ids)))
        return paddle.matmul(hidden, net.words.weight, transpose_y=True)

    layers = {"words": nn.Embedding(9, 4), "a": nn.Linear(4, 6), "b": nn.Linear(6, 4)}
    assert groups_of(run, InputSpec([2, 3], "int64"), **layers) == ([], ["b", "words"])


def test_a_layer_that_does_not_run_keeps_its_width():
    layers = {"a": conv(3, 4), "idle": conv(4, 4), "out": conv(4, 2)}
    assert groups_of(lambda net, x: net.out(net.a(x)), IMAGE, **layers) == ([], ["idle", "out"])


def test_branches_on_data_keep_all_they_read():
    def run(net, x):
        a, b = net.a(x), net.b(x)
        mixed = paddle.static.nn.cond(x.mean() > 0, lambda: a + 1.0, lambda: a - 1.0)
        return net.out(net.c(mixed)) + net.end(b)

    layers = {"a": conv(3, 4), "b": conv(3, 4), "c": conv(4, 5)}
    layers |= {"out": conv(5, 2), "end": conv(4, 2)}
    assert groups_of(run, IMAGE, **layers) == ([], ["a", "end", "out"])


TIED, FREE, ONE = ([["a", "b"]], []), ([], []), ([], ["a"])


@pytest.mark.parametrize(
    ("combine", "width", "expected"),
    [
        (lambda a, b: a * b, 8, TIED),
        (lambda a, b: paddle.maximum(a, b), 8, TIED),
        (lambda a, b: paddle.where(a > 0, a, b), 8, TIED),
        (lambda a, b: paddle.stack([a, b], 1).sum(1), 8, TIED),
        (lambda a, b: paddle.stack([a, b], -1).max(-1), 8, TIED),
        (lambda a, b: paddle.add_n([a, b]), 8, TIED),
        (lambda a, b: a.expand_as(b), 8, TIED),
        (lambda a, b: a.mean(1, keepdim=True).expand_as(b), 8, TIED),
        (lambda a, b: paddle.concat([a, b], 1), 8, TIED),
        (lambda a, b: a.transpose([0, 2, 1]).matmul(b.transpose([0, 2, 1]), False, True), 8, ONE),
        (lambda a, b: a.matmul(b, transpose_y=True), 3, TIED),
        (lambda a, b: paddle.bmm(a, b.transpose([0, 2, 1])), 3, TIED),
        (lambda a, b: a.sum(-1, keepdim=True) * b.cumsum(1), 8, FREE),
        (lambda a, b: a.sum(-1, keepdim=True) + F.softmax(b), 8, FREE),
        (lambda a, b: a.argmax(-1, keepdim=True).astype(b.dtype) * b, 8, FREE),
        (lambda a, b: paddle.logsumexp(a, -1, keepdim=True) * b.clip(-1, 1), 8, FREE),
        (lambda a, b: a.mean() * b.unsqueeze(1).squeeze(1), 8, FREE),
        (lambda a, b: a.argmax().astype(b.dtype) * b, 8, FREE),
        (lambda a, b: a.sum(-1, keepdim=True) + b[:, 0:2].tile([1, 3, 1])[:, :3], 8, FREE),
        (lambda a, b: a.sum(-1, keepdim=True)[:, :1] + b[:, 0].unsqueeze(1), 8, FREE),
        (lambda a, b: a.mean(-1, True) * paddle.unbind(b, 1)[0].unsqueeze(1), 8, FREE),
        (lambda a, b: paddle.gather(a, paddle.to_tensor([2, 0]), axis=1), 8, FREE),
        (lambda a, b: a.reshape([a.shape[0], 3, -1]), 8, FREE),
        (lambda a, b: a.reshape([0, 0, -1, 2]).flatten(2), 8, FREE),
        (lambda a, b: a.unsqueeze(1).expand([-1, 5, -1, -1]), 8, FREE),
        (lambda a, b: a.unsqueeze(1).expand([2, 5, 3, 8]), 8, ONE),
        (lambda a, b: a.reshape([2, 3, 8]), 8, ONE),
        (lambda a, b: a.reshape([-1, 8]), 8, ONE),
        (lambda a, b: a.reshape([0, 0, 4, 2]).flatten(2), 8, ONE),
        (lambda a, b: a.reshape([0, 0, 2, -1]).flatten(2), 8, ONE),
        (lambda a, b: a.transpose([0, 2, 1]).flatten(1), 24, FREE),
        (lambda a, b: a.transpose([0, 2, 1]).reshape([0, -1, 4]).mean(1), 4, ONE),
        (lambda a, b: a.flatten(1), 24, ONE),
        (lambda a, b: a[:, :, :6], 6, ONE),
        (lambda a, b: paddle.gather(a, paddle.to_tensor([2, 0]), axis=2), 2, ONE),
        (lambda a, b: a.tile([1, 1, 2]), 16, ONE),
        (lambda a, b: paddle.topk(a, 3)[0], 3, ONE),
        (lambda a, b: paddle.flip(a, [-1]), 8, ONE),
        (lambda a, b: paddle.unbind(a, 2)[1].unsqueeze(-1), 1, ONE),
        (lambda a, b: F.glu(a), 4, ONE),
    ],
)
def test_operations(combine, width, expected):
    """``b`` runs through ``end`` as well, so that it is never idle."""

    def run(net, x):
        b = net.b(x)
        return net.out(combine(net.a(x), b)), net.end(b)

    layers = {"a": nn.Linear(4, 8), "b": nn.Linear(4, 8)}
    layers |= {"out": nn.Linear(width, 2), "end": nn.Linear(8, 2)}
    tied, fixed = groups_of(run, ROWS, **layers)
    assert (tied, [name for name in fixed if name in "ab"]) == expected


def test_writing_into_a_tensor_keeps_what_is_written():
    def run(net, x):
        a = net.a(x) * 1.0
        a[:, 0] = net.b(x)[:, 1]
        return net.out(a)

    layers = {"a": nn.Linear(4, 8), "b": nn.Linear(4, 8), "out": nn.Linear(8, 2)}
    assert groups_of(run, ROWS, **layers) == ([], ["b", "out"])


def test_images_resized_and_padded_keep_their_channels():
    def run(net, x):
        up = F.interpolate(net.a(x), scale_factor=2, mode="bilinear")
        return net.out(F.pad(F.avg_pool2d(up, 2), [1, 1, 1, 1])[:, :, 1:9, 1:9] + net.b(x))

    layers = {"a": conv(3, 4), "b": conv(3, 4), "out": conv(4, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "b"]], ["out"])


def test_channels_last():
    def run(net, x):
        return net.out((net.a(x) + net.b(x)).flatten(1))

    layers = {"a": conv(3, 4, data_format="NHWC"), "b": conv(3, 4, data_format="NHWC")}
    layers["out"] = nn.Linear(4 * 9, 2)
    # Flattened, the channels are the last factor: their prefix is no prefix of the features.
    assert groups_of(run, InputSpec([2, 3, 3, 3]), **layers) == ([], ["a", "b", "out"])


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


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": object()}, r"inputs\['x'\] must be a tensor, .* got object; type paddle.static.Inp"),
        ([IMAGE, [np.array(["a"])]], r"inputs\[1\]\[0\] must be a tensor, .* got ndarray; type"),
        (
            InputSpec([None, 3, 8, 8]),
            r"inputs must have a known shape; got \[-1, 3, 8, 8\]; type .* e.g. \[2, 3, 8, 8\]",
        ),
    ],
)
def test_inputs_that_cannot_be_built_are_named(inputs, message):
    with pytest.raises(InputError, match=message):
        groups_of(lambda net, x: x, inputs)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (lambda net, x: x.reshape([5]), r"ValueError: \(InvalidArgument\) The 'shape' in Reshape"),
        (lambda net, x: x if x.mean() > 0 else -x, r"TypeError: bool\(Tensor\) is not supported"),
        (lambda net, x: paddle.to_tensor(x.numpy()), "AssertionError: 'numpy' only can be called"),
        (lambda net, x: x["image"], ""),
        (lambda net, x, y: x, r"TypeError: .* missing 1 required positional argument: 'y'"),
    ],
)
def test_a_network_that_cannot_be_traced_says_on_what(run, said):
    with pytest.raises(InputError) as error:
        groups_of(run, paddle.ones([2, 3]))
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith("Net could not be traced on inputs float32 [2, 3]: ")
    assert message.endswith("share a width: RunConfig(same_search_space=[...])")
    assert re.search(said, message)
    assert paddle.in_dynamic_mode()


# Random networks: each step adds a layer or an operation on earlier tensors.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["conv", "depthwise", "add", "multiply", "concat", "norm", "pool"]),
        st.integers(0, 99),
        st.integers(0, 99),
        st.sampled_from([4, 8]),
    ),
    min_size=1,
    max_size=8,
)


class Random(nn.Layer):
    """Run ``steps``; ``widths`` gives convolutions other widths than they ask for, by name."""

    def __init__(self, steps, widths=None):
        super().__init__()
        self.program = []
        sizes = [3]
        for number, (kind, one, two, width) in enumerate(steps):
            name, one, two = f"s{number}", one % len(sizes), two % len(sizes)
            if kind in ("add", "multiply") and sizes[one] != sizes[two]:
                kind = "conv"
            if kind == "conv":
                width = (widths or {}).get(name, width)
                self.add_sublayer(name, conv(sizes[one], width))
            elif kind == "depthwise":
                width = sizes[one]
                self.add_sublayer(name, conv(width, width, 3, groups=width))
            elif kind == "norm":
                width = sizes[one]
                self.add_sublayer(name, nn.BatchNorm2D(width))
            else:
                width = sizes[one] + (sizes[two] if kind == "concat" else 0)
            self.program.append((kind, name, one, two))
            sizes.append(width)
        self.add_sublayer("out", conv(sizes[-1], 2))

    def forward(self, x):
        values = [x]
        for kind, name, one, two in self.program:
            a, b = values[one], values[two]
            values.append(
                a + b
                if kind == "add"
                else a * b
                if kind == "multiply"
                else paddle.concat([a, b], 1)
                if kind == "concat"
                else F.avg_pool2d(a, 1)
                if kind == "pool"
                else getattr(self, name)(a)
            )
        return self.out(values[-1])


def oracle(steps):
    """Ties and fixed widths by a second, independent way: which tensors have whose width.

    Each tensor's width is a set of layers; sets that meet are merged until nothing changes.
    """
    model = Random(steps)
    names = {n for n, layer in model.named_sublayers() if isinstance(layer, WIDE)}
    label = {index: f"t{index}" for index in range(len(steps) + 1)}
    fixed = {"t0", "out"}
    # Operations that ran without being needed tie as well: the program holds them.
    for index, (kind, _, one, two) in enumerate(model.program, 1):
        merged = {"conv": [], "concat": []}.get(kind, [label[one]])
        merged = [*merged, label[two]] if kind in ("add", "multiply") else merged
        for old in merged:
            new = label[index]
            label = {i: new if v == old else v for i, v in label.items()}
            fixed = {new if v == old else v for v in fixed}
        if kind == "concat":
            fixed |= {label[one], label[two], label[index]}
    owner = {
        name: label[index]
        for index, (kind, name, _, _) in enumerate(model.program, 1)
        if name in names
    }
    owner["out"] = "out"
    by_label = {}
    for name, key in owner.items():
        by_label.setdefault(key, set()).add(name)
    all_fixed = {name for key, members in by_label.items() if key in fixed for name in members}
    tied = [m for key, m in by_label.items() if key not in fixed and len(m) > 1]
    return sorted(map(sorted, tied)), all_fixed


@settings(max_examples=40)
@given(steps=STEPS)
def test_random_networks_agree_with_a_second_reading(steps):
    found = width_groups(Random(steps), InputSpec([1, 3, 4, 4]))
    assert (sorted(map(sorted, found.tied)), set(found.fixed)) == oracle(steps)
