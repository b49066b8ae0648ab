"""What conversion does not take is said in one line, and stays as it was."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Convert, supernet
from tests.ofa.values import draw
from tests.tiny import paddle

nn = paddle.nn


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


@pytest.mark.parametrize("normed", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_a_weight_that_is_made_anew_at_each_call_stays(normed):
    class Normed(nn.Layer):
        def __init__(self):
            super().__init__()
            self.before = nn.Conv2D(3, 4, 1)
            self.conv, self.linear = normed(nn.Conv2D(4, 4, 3)), normed(nn.Linear(4, 4))
            self.free = nn.Linear(4, 6)
            self.last = nn.Linear(6, 2)

        def forward(self, x):
            x = self.linear(self.conv(self.before(x)).mean([2, 3]))
            return self.last(paddle.tanh(self.free(x)))

    model, x = Normed(), paddle.to_tensor(draw(2, 3, 6, 6))
    model.eval()
    expected = model(x).numpy()
    space = supernet(expand_ratio=[0.5, 1.0], kernel_size=(1, 3))
    with pytest.warns(UserWarning, match=r"stay as they are: conv \(Conv2D\), linear \(Linear\)"):
        Convert(space).convert(model)
    np.testing.assert_allclose(model(x).numpy(), expected, atol=1e-6)
    ofa = OFA(model)
    ofa.eval()
    ofa.trace(x)
    assert ofa.ofa_layers == {"free": {"expand_ratio": [0.5, 1.0]}}
    ofa.set_net_config({"free": {"expand_ratio": 0.5}})
    hidden = model.linear(model.conv(model.before(x)).mean([2, 3])).numpy()
    free, last = model.free.fn, model.last.fn
    hidden = np.tanh(hidden @ free.weight.numpy()[:, :3] + free.bias.numpy()[:3])
    expected = hidden @ last.weight.numpy()[:3] + last.bias.numpy()
    small = ofa.export(ofa.get_current_config, [[2, 3, 6, 6]], ["float32"])
    for network in (ofa, small):
        np.testing.assert_allclose(network(x).numpy(), expected, atol=1e-6)


def test_a_wider_supernet_leaves_such_a_weight_too():
    model = nn.Sequential(nn.utils.weight_norm(nn.Conv2D(3, 4, 1)), nn.Conv2D(4, 2, 1))
    x = paddle.to_tensor(draw(2, 3, 6, 6))
    expected = model(x).numpy()
    with pytest.warns(UserWarning, match=r"0 \(Conv2D\)"):
        Convert(supernet(expand_ratio=[1, 2])).convert(model)
    np.testing.assert_allclose(model(x).numpy(), expected, atol=1e-6)


def test_attention_with_a_projection_of_another_kind_keeps_them_all():
    model = nn.Sequential(nn.Linear(4, 4), nn.MultiHeadAttention(4, 2), nn.Linear(4, 4))
    model[1].q_proj = nn.utils.weight_norm(model[1].q_proj)
    x = paddle.to_tensor(draw(2, 3, 4))
    expected = model(x).numpy()
    with pytest.warns(UserWarning, match=r"1 \(MultiHeadAttention\)"):
        Convert(supernet(expand_ratio=[0.5, 1.0])).convert(model)
    assert type(model[1].k_proj) is nn.Linear
    np.testing.assert_allclose(model(x).numpy(), expected, atol=1e-6)


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


class Squared(nn.MultiHeadAttention):
    """Attention with a forward of its own."""

    def forward(self, x):
        return super().forward(x * x)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.Conv2D(3, 4, 3),
        lambda: nn.Embedding(3, 4),
        lambda: nn.BatchNorm2D(3),
        lambda: nn.MultiHeadAttention(4, 2),
        lambda: Squared(4, 2),
    ],
)
def test_a_layer_by_itself_has_no_place_for_an_elastic_one(layer):
    network = layer()
    before = [type(inner) for inner in network.sublayers()]
    name = type(network).__name__
    with pytest.raises(InputError, match=f"a {name} by itself .* wrap it: .*Sequential") as caught:
        Convert(supernet(expand_ratio=[0.5, 1.0])).convert(network)
    assert "\n" not in str(caught.value)
    assert [type(inner) for inner in network.sublayers()] == before


class Compiled(nn.Layer):
    """A network whose author has decorated its forward."""

    def __init__(self):
        super().__init__()
        self.only = nn.Linear(2, 2)

    @paddle.jit.to_static(full_graph=True)
    def forward(self, x):
        return self.only(x)


@pytest.mark.parametrize(
    ("network", "name"),
    [
        (lambda: Compiled(), "Compiled"),
        (lambda: nn.Sequential(nn.Linear(2, 2), Compiled()), r"1 \(Compiled\)"),
        (lambda: [nn.Linear(2, 2), Compiled()], "Compiled"),
        (lambda: paddle.jit.to_static(nn.Sequential(nn.Linear(2, 2))), "Sequential"),
    ],
)
def test_a_compiled_network_is_refused_as_it_is(network, name):
    model = network()
    with pytest.raises(InputError, match=f"^{name} is compiled by paddle.jit.to_static"):
        Convert(supernet(expand_ratio=[0.5, 1.0])).convert(model)
    layers = model if isinstance(model, list) else model.sublayers()
    assert any(type(layer) is nn.Linear for layer in layers)


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
