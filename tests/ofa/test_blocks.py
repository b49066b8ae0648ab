"""Networks that are elastic in parts only: what is not keeps what feeds it."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.ofa import (
    OFA,
    Block,
    Convert,
    SuperConv2D,
    SuperGroupConv2D,
    SuperLinear,
    SuperSeparableConv2D,
    supernet,
)
from ofa_bert.ofa.graph import width_groups
from tests.ofa.oracles import original_weights
from tests.ofa.values import draw, randomised
from tests.tiny import paddle

nn = paddle.nn
F = paddle.nn.functional
HALVES = {"expand_ratio": [0.5, 1.0]}
ROWS = paddle.to_tensor(draw(2, 3, 4))
IMAGES = paddle.to_tensor(draw(2, 3, 5, 5))


class Norm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x * 2.0)


class Product(nn.Linear):
    def forward(self, x):
        return paddle.tanh(paddle.matmul(x, self.weight) + self.bias)


class Filter(nn.Conv2D):
    def forward(self, x):
        x = x.transpose([0, 2, 1]).unsqueeze(3)
        return super().forward(F.pad(x, [0, 0, 1, 1])).squeeze(3).transpose([0, 2, 1])


class Attention(nn.MultiHeadAttention):
    def forward(self, x):
        return super().forward(x, x, x)


class Around(nn.Layer):
    """Two layers, then one with a forward of its own, then one more."""

    def __init__(self, odd, width=6):
        super().__init__()
        self.first, self.second = nn.Linear(4, width), nn.Linear(width, 8)
        self.odd, self.out = odd(), nn.Linear(8, 2)

    def forward(self, x):
        return self.out(self.odd(self.second(self.first(x))))


def cut_by_hand(network, small):
    """Give a smaller network the beginning of each parameter of a converted one."""
    weights = original_weights(network)
    for name, parameter in small.named_parameters():
        part = weights[name][tuple(map(slice, parameter.shape))]
        parameter.set_value(part.astype("float32"))
    return small


@pytest.mark.parametrize(
    "odd",
    [
        lambda: Norm(8),
        lambda: Norm(8, weight_attr=False, bias_attr=False),
        lambda: Product(8, 8),
        lambda: Filter(8, 8, (3, 1)),
        lambda: Attention(8, 2),
    ],
    ids=["LayerNorm", "weightless", "Linear", "Conv2D", "MultiHeadAttention"],
)
@pytest.mark.filterwarnings("ignore:these layers cannot be made elastic")
def test_a_layer_with_a_forward_of_its_own_keeps_what_feeds_it(odd):
    model = randomised(Around(odd))
    assert "first" not in width_groups(model, ROWS).fixed
    assert {"second", "out"} <= width_groups(model, ROWS).fixed
    ofa = OFA(Convert(supernet(**HALVES)).convert(model))
    ofa.trace(ROWS)
    assert list(ofa.ofa_layers) == ["first"]
    ofa.set_net_config(ofa.sample_config("smallest"))
    ofa.eval()
    small = cut_by_hand(model, Around(odd, width=3))
    small.eval()
    np.testing.assert_allclose(ofa(ROWS).numpy(), small(ROWS).numpy(), atol=1e-5)


class Features(nn.Layer):
    def __init__(self, width):
        super().__init__()
        self.stem, self.one = nn.Conv2D(3, width, 3, padding=1), nn.Conv2D(width, 8, 1)
        self.two = nn.Conv2D(8, 16, 3)

    def forward(self, x):
        one = self.one(self.stem(x))
        return one, self.two(one)


class Pyramid(nn.Layer):
    """A backbone, and a neck that takes its features."""

    def __init__(self, width=6):
        super().__init__()
        self.features = Features(width)
        self.neck = nn.LayerList([nn.Conv2D(8, 4, 1), nn.Conv2D(16, 4, 1)])

    def forward(self, x):
        one, two = self.features(x)
        return self.neck[0](one).mean([2, 3]) + self.neck[1](two).mean([2, 3])


def test_a_part_that_was_not_converted_keeps_what_feeds_it():
    model = randomised(Pyramid())
    Convert(supernet(**HALVES)).convert(model.features)
    ofa = OFA(model)
    ofa.trace(IMAGES)
    assert list(ofa.ofa_layers) == ["features.stem"]
    ofa.set_net_config(ofa.sample_config("smallest"))
    small = cut_by_hand(model, Pyramid(width=3))
    np.testing.assert_allclose(ofa(IMAGES).numpy(), small(IMAGES).numpy(), atol=1e-5)


class Blocks(nn.Layer):
    """Blocks, and a function that runs them."""

    def __init__(self, run, **blocks):
        super().__init__()
        for name, block in blocks.items():
            self.add_sublayer(name, block)
        self.run = run

    def forward(self, x):
        return self.run(self, x)


def test_what_is_added_to_a_fixed_block_keeps_its_width():
    model = Blocks(
        lambda net, x: net.out(net.one(net.free(x)) + net.two(x)),
        free=Block(SuperLinear(4, 6, HALVES)),
        one=Block(SuperLinear(6, 8, HALVES)),
        two=Block(SuperLinear(4, 8, HALVES), fixed=True),
        out=Block(SuperLinear(8, 2)),
    )
    ofa = OFA(randomised(model))
    ofa.trace(ROWS)
    assert list(ofa.ofa_layers) == ["free"]
    ofa.set_net_config(ofa.sample_config("smallest"))
    w = original_weights(model)
    hidden = ROWS.numpy() @ w["free.weight"][:, :3] + w["free.bias"][:3]
    both = hidden @ w["one.weight"][:3] + w["one.bias"]
    both = both + ROWS.numpy() @ w["two.weight"] + w["two.bias"]
    expected = both @ w["out.weight"] + w["out.bias"]
    np.testing.assert_allclose(ofa(ROWS).numpy(), expected, atol=1e-5)


def separable():
    return Block(SuperSeparableConv2D(8, 8, 3, HALVES, padding=1))


def separated(w, x, outputs):
    """Run ``separable`` by hand, called ``two``, on any number of inputs."""
    w = {name: paddle.to_tensor(value.astype("float32")) for name, value in w.items()}
    first, norm, last = (f"two.conv.{number}" for number in range(3))
    n = x.shape[1]
    x = F.conv2d(x, w[f"{first}.weight"][:n], w[f"{first}.bias"][:n], padding=1, groups=n)
    x = F.instance_norm(x, weight=w[f"{norm}.scale"][:n], bias=w[f"{norm}.bias"][:n])
    return F.conv2d(x, w[f"{last}.weight"][:outputs, :n], w[f"{last}.bias"][:outputs])


def cut_conv(w, name, x, outputs, **options):
    weight, bias = (
        paddle.to_tensor(w[f"{name}.{kind}"].astype("float32")) for kind in ("weight", "bias")
    )
    return F.conv2d(x, weight[:outputs, : x.shape[1]], bias[:outputs], **options)


def test_a_separable_block_that_is_the_output_keeps_its_width_but_not_its_inputs():
    model = Blocks(
        lambda net, x: net.two(net.one(x)),
        one=Block(SuperConv2D(3, 8, 3, HALVES)),
        two=separable(),
    )
    ofa = OFA(randomised(model))
    ofa.trace(IMAGES)
    assert list(ofa.ofa_layers) == ["one"]
    ofa.set_net_config(ofa.sample_config("smallest"))
    w = original_weights(model)
    expected = separated(w, cut_conv(w, "one", IMAGES, 4), 8)
    np.testing.assert_allclose(ofa(IMAGES).numpy(), expected.numpy(), atol=1e-5)


def test_a_separable_block_is_as_wide_as_what_it_is_added_to():
    model = Blocks(
        lambda net, x: (lambda x: net.out(x + net.two(x)))(net.one(x)),
        one=Block(SuperConv2D(3, 8, 3, HALVES)),
        two=separable(),
        out=Block(SuperConv2D(8, 2, 1)),
    )
    ofa = OFA(randomised(model))
    ofa.trace(IMAGES)
    assert list(ofa.ofa_layers) == ["one"]
    ofa.set_net_config(ofa.sample_config("smallest"))
    assert ofa.get_current_config["two"] == {"expand_ratio": 0.5}
    w = original_weights(model)
    x = cut_conv(w, "one", IMAGES, 4)
    expected = cut_conv(w, "out", x + separated(w, x, 4), 2)
    np.testing.assert_allclose(ofa(IMAGES).numpy(), expected.numpy(), atol=1e-5)


def test_a_separable_block_before_a_grouped_convolution_has_a_multiple_of_its_groups():
    ratios = {"expand_ratio": [0.3, 1.0]}
    model = Blocks(
        lambda net, x: net.out(net.three(net.two(x))),
        two=Block(SuperSeparableConv2D(3, 8, 3, ratios, padding=1)),
        three=Block(SuperGroupConv2D(8, 8, 1, ratios, groups=4)),
        out=Block(SuperConv2D(8, 2, 1)),
    )
    ofa = OFA(randomised(model))
    ofa.trace(IMAGES)
    assert list(ofa.ofa_layers) == ["two"]
    ofa.set_net_config(ofa.sample_config("smallest"))
    w = original_weights(model)
    x = separated(w, IMAGES, 4)  # 0.3 of 8 channels are 4, as there are 4 groups
    w["three.weight"] = w["three.weight"][:, :1]
    x = cut_conv(w, "three", x, 4, groups=4)
    np.testing.assert_allclose(ofa(IMAGES).numpy(), cut_conv(w, "out", x, 2).numpy(), atol=1e-5)
