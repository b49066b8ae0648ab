"""What a forward may do, and still it is found what is joined."""

from __future__ import annotations

import collections

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Convert, supernet
from tests.ofa.oracles import original_weights
from tests.ofa.values import draw, randomised
from tests.tiny import paddle

nn = paddle.nn


class Scaled(nn.Layer):
    """A forward with a mask that may be None, and settings that it hands nobody."""

    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, *args, mask, scale=None, **settings):
        x = args[0] if mask is None else args[0] * mask
        x = self.first(x)
        return self.out(x if scale is None else x * scale)


@pytest.mark.parametrize(
    "named", [{}, {"scale": paddle.to_tensor(draw(3, 1))}, {"other": 1, "model": None}]
)
def test_arguments_by_name_reach_the_network_as_they_are(named):
    ofa = OFA(Convert(supernet(expand_ratio=[0.5, 1.0])).convert(randomised(Scaled())))
    x = paddle.to_tensor(draw(3, 4))
    ofa(x, mask=None, **named)
    assert list(ofa.ofa_layers) == ["first"]
    ofa.set_net_config({"first": {"expand_ratio": 0.5}})
    weights = original_weights(ofa.model)
    hidden = x.numpy() @ weights["first.weight"][:, :4] + weights["first.bias"][:4]
    hidden = hidden * (named["scale"].numpy() if "scale" in named else 1)
    expected = hidden @ weights["out.weight"][:4] + weights["out.bias"]
    np.testing.assert_allclose(ofa(x, mask=None, **named).numpy(), expected, atol=1e-6)


class Positions(nn.Layer):
    """A layer that keeps what it computes: as an attribute, a buffer, in a dict and in a list."""

    def __init__(self):
        super().__init__()
        self.table, self.by_length, self.seen = None, {"tables": {}}, [[]]
        self.register_buffer("steps", paddle.zeros([1]))
        self.runs = 0

    def forward(self, x):
        length = x.shape[1]
        if self.table is None:
            self.table = paddle.arange(length).astype("float32").reshape([1, -1, 1])
        tables = self.by_length["tables"]
        if length not in tables:
            tables[length] = self.table * 0.5
        self.steps = self.steps + 1.0
        if not self.seen[0]:
            self.seen[0].append(self.table - 1.0)
            self.extra = nn.ReLU()
        self.runs += 1
        return x + self.table + tables[length] + self.steps + self.seen[0][0]


class Placed(nn.Layer):
    def __init__(self):
        super().__init__()
        self.first, self.positions, self.out = nn.Linear(4, 8), Positions(), nn.Linear(8, 2)

    def forward(self, x):
        return self.out(self.positions(self.first(x)))


def test_a_forward_may_keep_tensors_on_its_layers():
    model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(randomised(Placed()))
    positions = model.positions
    ofa, x = OFA(model), paddle.to_tensor(draw(2, 3, 4))
    ofa.trace(x)
    assert (positions.table, positions.steps.item(), positions.runs) == (None, 0.0, 0)
    assert (positions.by_length, positions.seen) == ({"tables": {}}, [[]])
    assert positions.sublayers() == []
    ofa.set_net_config({"first": {"expand_ratio": 0.5}})
    weights = original_weights(model)
    places = np.arange(3)[None, :, None]
    hidden = x.numpy() @ weights["first.weight"][:, :4] + weights["first.bias"][:4]
    hidden = hidden + places + 0.5 * places + (places - 1.0)
    for step in (1, 2):
        expected = (hidden + step) @ weights["out.weight"][:4] + weights["out.bias"]
        np.testing.assert_allclose(ofa(x).numpy(), expected, atol=1e-5)


class Cached(Placed):
    """A table kept as a mere attribute of the network."""

    def __init__(self):
        super().__init__()
        self.positions, self.table = None, None

    def forward(self, x):
        x = self.first(x)
        if self.table is None:
            self.table = paddle.arange(8).astype("float32")
        return self.out(x + self.table)


def test_a_tensor_that_an_earlier_forward_kept_is_one_like_any_other():
    """It has 8 numbers, and what it is added to keeps as many."""
    model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(Cached())
    ofa, x = OFA(model), paddle.to_tensor(draw(2, 3, 4))
    ofa.set_net_config({})
    ofa(x)
    table = model.table
    ofa.trace(x)
    assert model.table is table
    assert "table" not in model.state_dict()
    assert ofa.ofa_layers == {}


def test_a_forward_that_fails_leaves_nothing_on_its_layers():
    model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(Placed())
    with pytest.raises(InputError, match="could not be traced"):
        OFA(model).trace(paddle.static.InputSpec([2, 3, 4, 5], "float32"))
    model.positions.forward = lambda x: x.missing
    before = dict(vars(model.positions))
    with pytest.raises(InputError, match="could not be traced"):
        OFA(model).trace(paddle.static.InputSpec([2, 3, 4], "float32"))
    assert vars(model.positions) == before
    assert paddle.in_dynamic_mode()


class TrainedBeside(nn.Layer):
    """In training there is a shortcut, and a head that gives its feature too."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 8)
        self.third, self.aside, self.unused = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.head, self.out = nn.Linear(8, 3), nn.Linear(8, 2)

    def forward(self, x):
        x = self.second(self.first(x))
        if not self.training:
            return self.out(self.third(x))
        x = x + self.aside(x)
        feature = self.third(x)
        return self.out(feature), self.head(x), feature


def test_what_runs_in_training_only_is_joined_too():
    np.random.seed(1)
    model = Convert(supernet(expand_ratio=[0.25, 0.5, 1.0])).convert(randomised(TrainedBeside()))
    ofa, x = OFA(model), paddle.to_tensor(draw(3, 4))
    modes = [layer.training for layer in model.sublayers(include_self=True)]
    for _ in range(8):
        assert [out.shape for out in ofa(x)] == [[3, 2], [3, 3], [3, 8]]
    assert [layer.training for layer in model.sublayers(include_self=True)] == modes
    assert list(ofa.ofa_layers) == ["first", "second"]
    ofa.set_net_config({"first": {"expand_ratio": 0.5}, "second": {"expand_ratio": 0.25}})
    assert ofa.get_current_config["aside"] == {"expand_ratio": 0.25}
    w = original_weights(model)

    def cut(x, name, outputs):
        return x @ w[f"{name}.weight"][: x.shape[-1], :outputs] + w[f"{name}.bias"][:outputs]

    h = cut(cut(x.numpy(), "first", 4), "second", 2)
    h = h + cut(h, "aside", 2)
    feature = cut(h, "third", 8)
    for found, expected in zip(
        ofa(x), (cut(feature, "out", 2), cut(h, "head", 3), feature), strict=True
    ):
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_what_runs_in_training_only_is_not_known_where_nothing_trains():
    model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(TrainedBeside())
    ofa, x = OFA(model), paddle.to_tensor(draw(3, 4))
    ofa.eval()
    ofa.trace(x)
    assert list(ofa.ofa_layers) == ["first", "second", "third"]


@pytest.mark.parametrize("dropout", [nn.Dropout2D, nn.AlphaDropout, nn.Dropout])
def test_dropout_of_whole_channels_fixes_none(dropout):
    layers = [nn.Conv2D(3, 8, 3), dropout(0.5), nn.Conv2D(8, 2, 1)]
    ofa = OFA(Convert(supernet(expand_ratio=[0.5, 1.0])).convert(nn.Sequential(*layers)))
    ofa(paddle.to_tensor(draw(2, 3, 6, 6)))
    assert list(ofa.ofa_layers) == ["0"]
    assert ofa.model[1].training


class CalledByForward(nn.Layer):
    """Its norm's hooks do not run."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2D(3, 8, 3), nn.BatchNorm2D(8)
        self.out = nn.Conv2D(8, 2, 1)

    def forward(self, x):
        return self.out(self.norm.forward(self.conv(x)))


def test_a_layer_that_is_called_by_its_forward_is_one_like_any_other():
    ofa = OFA(Convert(supernet(expand_ratio=[0.5, 1.0])).convert(randomised(CalledByForward())))
    ofa.trace(paddle.to_tensor(draw(2, 3, 6, 6)))
    assert list(ofa.ofa_layers) == ["conv"]
    assert "forward" not in vars(ofa.model.norm)


@pytest.mark.parametrize("register", ["register_forward_post_hook", "register_forward_pre_hook"])
def test_a_hook_that_reads_a_weight_fixes_it(register):
    """It would read all of it, and of an exported layer what is left."""

    def shift(layer, inputs, *outputs):
        value = outputs[0] if outputs else inputs[0]
        return value + layer.weight.mean()

    layers = [nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)]
    getattr(layers[1], register)(shift)
    convert = Convert(supernet(expand_ratio=[0.5, 1.0])).convert
    ofa = OFA(convert(randomised(nn.Sequential(*layers))))
    ofa.eval()
    x = paddle.to_tensor(draw(3, 4))
    ofa.trace(x)
    assert list(ofa.ofa_layers) == ["2"]
    config = {"2": {"expand_ratio": 0.5}}
    ofa.set_net_config(config)
    np.testing.assert_allclose(ofa(x).numpy(), ofa.export(config)(x).numpy(), atol=1e-6)


def test_dicts_of_all_kinds_are_put_back():
    class Counting(Placed):
        def __init__(self):
            super().__init__()
            self.calls = collections.Counter(a=2)
            self.sizes = collections.defaultdict(list, {1: [2]})

        def forward(self, x):
            self.calls["a"] += 1
            self.sizes[len(self.calls)].append(3)
            self.sizes[x.ndim].append(4)
            return super().forward(x)

    model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(Counting())
    OFA(model).trace(paddle.to_tensor(draw(2, 3, 4)))
    assert model.calls == {"a": 2}
    assert model.sizes == {1: [2]}
