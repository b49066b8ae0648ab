"""Elastic convolutions: small kernels are the centre of large ones, widths the first filters."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import layers as L
from ofa_bert.ofa.kernels import compute_start_end, get_same_padding, sub_kernel
from tests.ofa.oracles import conv, conv_transpose
from tests.ofa.values import close, draw, randomised, run
from tests.tiny import paddle

nn = paddle.nn


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_smaller_kernel_is_the_full_one_with_zeros_around(kernel, padding, stride):
    layer = randomised(L.SuperConv2D(4, 6, 5, stride=stride, padding=padding))
    x = draw(2, 3, 9, 8)
    ring = (5 - kernel) // 2
    weight = np.zeros((4, 3, 5, 5))
    inner = slice(ring, 5 - ring)
    weight[:, :, inner, inner] = layer.weight.numpy()[:4, :3, inner, inner]
    expected = conv(x, weight, layer.bias.numpy()[:4], stride=stride, padding=padding)
    close(run(layer, x, kernel_size=kernel, channel=4), expected)


@pytest.mark.parametrize("padding", ["SAME", "VALID", [1, 2], [1, 2, 0, 1], "pairs"])
@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_other_ways_to_pad(padding, data_format):
    if padding == "pairs":
        spatial, none = [[0, 0], [2, 1]], [[0, 0]]
        padding = none * 2 + spatial if data_format == "NCHW" else none + spatial + none
    shared = {"padding": padding, "data_format": data_format}
    layer = randomised(L.SuperConv2D(3, 4, 5, **shared))
    plain = nn.Conv2D(3, 4, 5, **shared)
    weight = np.zeros((4, 3, 5, 5), "float32")
    weight[:, :, 1:4, 1:4] = layer.weight.numpy()[:, :, 1:4, 1:4]
    plain.weight.set_value(weight)
    plain.bias.set_value(layer.bias)
    x = paddle.to_tensor(draw(2, 3, 9, 8) if data_format == "NCHW" else draw(2, 9, 8, 3))
    close(layer(x, kernel_size=3), plain(x).numpy())


def test_reflected_padding():
    layer = randomised(L.SuperConv2D(2, 2, 3, padding=1, padding_mode="reflect"))
    x = draw(1, 2, 5, 5)
    wide = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], mode="reflect")
    weight, bias = layer.weight.numpy(), layer.bias.numpy()
    close(run(layer, x), conv(wide, weight, bias))
    close(run(layer, x, kernel_size=1), conv(x, weight[:, :, 1:2, 1:2], bias))


def test_dilation():
    layer = randomised(L.SuperConv2D(2, 2, 5, padding=4, dilation=2))
    x = draw(1, 2, 7, 7)
    weight = layer.weight.numpy()[:, :, 1:4, 1:4]
    expected = conv(x, weight, layer.bias.numpy(), padding=2, dilation=2)
    close(run(layer, x, kernel_size=3), expected)


@pytest.mark.parametrize("choices", [(3, 5, 7), (3, 5)])
def test_transform_matrices_lead_from_size_to_size(choices):
    sizes = {"kernel_size": choices}
    layer = randomised(L.SuperConv2D(2, 3, 7, sizes, transform_kernel=True, padding=3))
    matrices = {name: p.numpy() for name, p in layer.named_parameters() if "matrix" in name}
    assert {name: m.shape for name, m in matrices.items()} == {
        "7to5_matrix": (25, 25),
        "5to3_matrix": (9, 9),
    }
    five = layer.weight.numpy()[:, :, 1:6, 1:6].reshape(3, 2, 25) @ matrices["7to5_matrix"]
    three = five.reshape(3, 2, 5, 5)[:, :, 1:4, 1:4].reshape(3, 2, 9) @ matrices["5to3_matrix"]
    x, bias = draw(1, 2, 6, 6), layer.bias.numpy()
    close(run(layer, x), conv(x, layer.weight.numpy(), bias, padding=3), atol=1e-4)
    close(run(layer, x, kernel_size=5), conv(x, five.reshape(3, 2, 5, 5), bias, padding=2), 1e-4)
    close(run(layer, x, kernel_size=3), conv(x, three.reshape(3, 2, 3, 3), bias, padding=1), 1e-4)
    run(layer, x, kernel_size=3).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_fresh_matrices_take_the_centre():
    plain = L.SuperConv2D(2, 3, 5)
    layer = L.SuperConv2D(2, 3, 5, {"kernel_size": (3, 5)}, transform_kernel=True)
    layer.weight.set_value(plain.weight)
    x = draw(1, 2, 6, 6)
    close(run(layer, x, kernel_size=3), run(plain, x, kernel_size=3).numpy())


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 12), (4, 6), (4, 12), (8, 2)])
def test_a_grouped_convolution_keeps_its_groups(inputs, outputs):
    layer = randomised(L.SuperGroupConv2D(8, 12, 3, padding=1, groups=2))
    x = draw(2, inputs, 5, 5)
    weight = layer.weight.numpy()[:outputs, : inputs // 2]
    expected = conv(x, weight, layer.bias.numpy()[:outputs], padding=1, groups=2)
    close(run(layer, x, channel=outputs), expected)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_a_depthwise_convolution_is_as_wide_as_its_input(multiplier):
    layer = randomised(L.SuperDepthwiseConv2D(6, 6 * multiplier, 5, padding=2, groups=6))
    x, outputs = draw(2, 4, 5, 5), 4 * multiplier
    weight = layer.weight.numpy()[:outputs, :, 1:4, 1:4]
    expected = conv(x, weight, layer.bias.numpy()[:outputs], padding=1, groups=4)
    close(run(layer, x, kernel_size=3, expand_ratio=0.5), expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_transposed_convolution(kernel, padding, stride):
    layer = randomised(L.SuperConv2DTranspose(4, 6, 5, stride=stride, padding=padding))
    x = draw(2, 3, 6, 5)
    ring = (5 - kernel) // 2
    inner = slice(ring, 5 - ring)
    weight = np.zeros((3, 4, 5, 5))
    weight[:, :, inner, inner] = layer.weight.numpy()[:3, :4, inner, inner]
    bias = layer.bias.numpy()[:4]
    expected = conv_transpose(x, weight, bias, stride=stride, padding=padding)
    close(run(layer, x, kernel_size=kernel, channel=4), expected)


def test_transposed_convolutions_of_groups():
    x = draw(2, 4, 5, 5)
    layer = randomised(L.SuperGroupConv2DTranspose(8, 12, 3, groups=2))
    weight, bias = layer.weight.numpy()[:4, :3], layer.bias.numpy()[:6]
    expected = conv_transpose(x, weight, bias, groups=2)
    close(run(layer, x, expand_ratio=0.5), expected)
    layer = randomised(L.SuperDepthwiseConv2DTranspose(6, 6, 3, groups=6))
    expected = conv_transpose(x, layer.weight.numpy()[:4], layer.bias.numpy()[:4], groups=4)
    close(run(layer, x), expected)


def test_output_size_of_a_transposed_convolution():
    layer = randomised(L.SuperConv2DTranspose(2, 2, 5, stride=2, padding=2))
    x = paddle.to_tensor(draw(1, 2, 4, 4))
    assert layer(x, output_size=[8, 8], kernel_size=3).shape == [1, 2, 8, 8]


@pytest.mark.parametrize("scale_factor", [1, 2])
def test_a_separable_convolution(scale_factor):
    layer = L.SuperSeparableConv2D(
        4, 6, 3, {"channel": (3, 6)}, padding=1, scale_factor=scale_factor
    )
    randomised(layer)
    x, middle = draw(2, 2, 5, 5), 2 * scale_factor
    alone, norm, point = layer.conv
    y = conv(x, alone.weight.numpy()[:middle], alone.bias.numpy()[:middle], padding=1, groups=2)
    y = (y - y.mean((2, 3), keepdims=True)) / np.sqrt(y.var((2, 3), keepdims=True) + 1e-5)
    y = y * norm.scale.numpy()[None, :middle, None, None]
    y = y + norm.bias.numpy()[None, :middle, None, None]
    expected = conv(y, point.weight.numpy()[:3, :middle], point.bias.numpy()[:3])
    close(run(layer, x, channel=3), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: L.SuperConv2D(2, 2, 5, {"kernel_size": (3, 4, 5)}),
            "kernel_size must be odd numbers; got 4; use e.g. 5",
        ),
        (
            lambda: L.SuperConv2D(2, 2, 3, {"kernel_size": (3, 5)}),
            r"at most the layer's own 3; got \[3, 5\]; build the layer with kernel_size=5",
        ),
        (lambda: run(L.SuperConv2D(2, 2, 5), draw(1, 2, 6, 6), kernel_size=4), "must be odd"),
        (
            lambda: run(L.SuperConv2D(2, 2, 5), draw(1, 2, 6, 6), kernel_size=7),
            "a kernel of 7 has no centre in one of 5",
        ),
        (
            lambda: run(
                L.SuperConv2D(2, 2, 7, {"kernel_size": (5, 7)}, True),
                draw(1, 2, 8, 8),
                kernel_size=3,
            ),
            r"kernel_size must be one of \[5, 7\], which have a matrix; got 3",
        ),
        (
            lambda: L.SuperConv2D(2, 2, (3, 5), {"kernel_size": (3,)}),
            r"only square kernels have a choice of kernel_size; got one of \[3, 5\]",
        ),
        (
            lambda: run(L.SuperConv2D(2, 2, (3, 5)), draw(1, 2, 6, 6), kernel_size=3),
            "is 3 by 5, and only square ones have a choice; got kernel_size 3; leave it out",
        ),
        (
            lambda: run(L.SuperGroupConv2D(8, 8, 3, groups=4), draw(1, 6, 5, 5)),
            "6 channels do not fill the 4 groups",
        ),
        (
            lambda: L.SuperLinear(2, 2, {"chanel": (1, 2)}),
            "keys of kernel_size, expand_ratio, channel; got 'chanel'",
        ),
    ],
)
def test_what_a_layer_cannot_do_is_one_line(build, message):
    with pytest.raises(InputError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_the_centre_of_a_kernel():
    assert [compute_start_end(7, k) for k in (1, 3, 5, 7)] == [(3, 4), (2, 5), (1, 6), (0, 7)]
    assert [get_same_padding(k) for k in (1, 3, 7)] == [0, 1, 3]
    for wrong in (lambda: get_same_padding(4), lambda: compute_start_end(7, 4)):
        with pytest.raises(InputError, match="odd"):
            wrong()
    weight = paddle.arange(25, dtype="float32").reshape([1, 1, 5, 5])
    assert sub_kernel(weight, 3).flatten().tolist() == [6, 7, 8, 11, 12, 13, 16, 17, 18]
