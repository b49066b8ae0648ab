"""Elastic layers: at any size they are the plain layer that NumPy cuts out of the same weights."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import layers as L
from ofa_bert.ofa.kernels import compute_start_end, get_same_padding, sub_kernel
from tests.tiny import paddle

nn = paddle.nn


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32")


def randomised(layer):
    """Every parameter random, running statistics too: fresh ones hide what is lost."""
    for number, (name, parameter) in enumerate(layer.named_parameters()):
        if name.endswith("_matrix"):
            noise = draw(*parameter.shape, seed=number)
            parameter.set_value(np.eye(len(noise), dtype="float32") + 0.3 * noise)
        elif name.endswith("_variance"):
            parameter.set_value(np.abs(draw(*parameter.shape, seed=number)) + 0.5)
        else:
            parameter.set_value(draw(*parameter.shape, seed=number))
    return layer


def conv(x, weight, bias, *, stride=1, padding=0, dilation=1, groups=1):
    """One output number at a time, float64, NCHW."""
    x = np.pad(x.astype("float64"), [(0, 0), (0, 0), (padding,) * 2, (padding,) * 2])
    (batch, _, height, width), (outputs, inputs, k, _) = x.shape, weight.shape
    rows = (height - dilation * (k - 1) - 1) // stride + 1
    columns = (width - dilation * (k - 1) - 1) // stride + 1
    y = np.zeros([batch, outputs, rows, columns])
    for o in range(outputs):
        first = o // (outputs // groups) * inputs
        for r in range(rows):
            for c in range(columns):
                window = x[
                    :,
                    first : first + inputs,
                    r * stride : r * stride + dilation * (k - 1) + 1 : dilation,
                    c * stride : c * stride + dilation * (k - 1) + 1 : dilation,
                ]
                y[:, o, r, c] = (window * weight[o]).sum((1, 2, 3))
        y[:, o] += 0.0 if bias is None else bias[o]
    return y


def conv_transpose(x, weight, bias, *, stride=1, padding=0, groups=1):
    """Every input number spreads its kernel, ``[inputs, outputs of a group, k, k]``."""
    (batch, inputs, height, width), (_, per_group, k, _) = x.shape, weight.shape
    y = np.zeros([batch, per_group * groups, (height - 1) * stride + k, (width - 1) * stride + k])
    for i in range(inputs):
        group = i // (inputs // groups)
        for r in range(height):
            for c in range(width):
                y[
                    :,
                    group * per_group : (group + 1) * per_group,
                    r * stride : r * stride + k,
                    c * stride : c * stride + k,
                ] += x[:, i, r, c][:, None, None, None] * weight[i][None]
    y = y + bias[None, :, None, None]
    return y[:, :, padding : y.shape[2] - padding, padding : y.shape[3] - padding]


def close(actual, expected, atol=1e-5):
    np.testing.assert_allclose(actual.numpy(), expected, atol=atol, rtol=1e-5)


def run(layer, x, **sizes):
    return layer(paddle.to_tensor(x), **sizes)


# Linear and embedding


@pytest.mark.parametrize("bias", [None, False])
@pytest.mark.parametrize(
    ("inputs", "sizes", "outputs"),
    [
        (6, {}, 8),
        (6, {"expand_ratio": 0.5}, 4),
        (4, {"channel": 3}, 3),
        (2, {"expand_ratio": 0.3}, 2),  # 2.4 of 8
        (3, {"expand_ratio": 0.01}, 1),  # never none
    ],
)
def test_linear(bias, inputs, sizes, outputs):
    layer = randomised(L.SuperLinear(6, 8, bias_attr=bias))
    x = draw(3, 5, inputs)
    expected = x @ layer.weight.numpy()[:inputs, :outputs]
    expected = expected if bias is False else expected + layer.bias.numpy()[:outputs]
    close(run(layer, x, **sizes), expected)


def test_a_ratio_is_of_the_original_layer_where_the_supernet_is_wider():
    layer = randomised(L.SuperLinear(6, 16, {"expand_ratio": (1, 2, 4)}))
    x = draw(3, 6)
    for ratio, outputs in ((1, 4), (2, 8), (4, 16)):
        weight, bias = layer.weight.numpy()[:, :outputs], layer.bias.numpy()[:outputs]
        close(run(layer, x, expand_ratio=ratio), x @ weight + bias)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"expand_ratio": 0.5, "channel": 4}, "give expand_ratio or channel, not both"),
        ({"expand_ratio": 1.5}, "expand_ratio must be above 0 and at most 1; got 1.5"),
        ({"expand_ratio": 0.0}, "expand_ratio must be above 0 and at most 1; got 0"),
        ({"channel": 9}, "channel must be a multiple of 1 up to 8; got 9"),
    ],
)
def test_a_width_the_layer_has_not(sizes, message):
    with pytest.raises(InputError, match=message):
        run(L.SuperLinear(6, 8), draw(3, 6), **sizes)


def test_gradients_of_what_is_left_out_are_zero():
    layer = randomised(L.SuperLinear(6, 8))
    x = draw(3, 4)
    run(layer, x, channel=5).sum().backward()
    expected = np.zeros((6, 8))
    expected[:4, :5] = x.sum(0)[:, None]
    close(layer.weight.grad, expected)
    close(layer.bias.grad, [3] * 5 + [0] * 3)


@pytest.mark.parametrize(("sizes", "width"), [({}, 8), ({"expand_ratio": 0.25}, 2)])
def test_embedding(sizes, width):
    layer = L.SuperEmbedding(7, 8, padding_idx=2)
    table = draw(7, 8)
    layer.weight.set_value(table)
    ids = np.array([[0, 2, 6]])
    expected = table[ids][..., :width].copy()
    expected[0, 1] = 0.0
    close(run(layer, ids, **sizes), expected)


def test_two_layers_do_not_share_their_choices():
    one, other = L.SuperLinear(2, 2), L.SuperLinear(2, 2)
    one.candidate_config["channel"] = [1]
    assert other.candidate_config == {}
    given = {"channel": (2, 1, 2)}
    assert L.SuperLinear(2, 2, given).candidate_config == {"channel": [1, 2]}
    assert given == {"channel": (2, 1, 2)}


# Convolutions


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


# Norms


NORMS_WITH_STATISTICS = [L.SuperBatchNorm2D, L.SuperBatchNorm, L.SuperSyncBatchNorm]


@pytest.mark.parametrize("cls", NORMS_WITH_STATISTICS)
@pytest.mark.parametrize("features", [6, 4])
def test_batch_norm_in_evaluation_uses_the_running_statistics(cls, features):
    layer = randomised(cls(6))
    layer.eval()
    x = draw(5, features, 3, 2)
    before = {name: p.numpy() for name, p in layer.state_dict().items()}
    mean, variance, weight, bias = (
        before[name][:features, None, None] for name in ("_mean", "_variance", "weight", "bias")
    )
    close(run(layer, x), (x - mean) / np.sqrt(variance + 1e-5) * weight + bias)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


@pytest.mark.parametrize("cls", NORMS_WITH_STATISTICS)
@pytest.mark.parametrize("features", [6, 4])
def test_batch_norm_in_training_uses_the_batch_and_moves_what_is_there(cls, features):
    layer = randomised(cls(6))
    x = draw(5, features, 3, 2)
    before = {name: p.numpy() for name, p in layer.state_dict().items()}
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    expected = (x - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-5)
    expected = expected * before["weight"][:features, None, None]
    close(run(layer, x), expected + before["bias"][:features, None, None])
    for name, seen in (("_mean", mean), ("_variance", variance)):
        moved = before[name].copy()
        moved[:features] = 0.9 * moved[:features] + 0.1 * seen
        close(getattr(layer, name), moved)


def test_batch_norm_1d():
    layer = randomised(L.SuperBatchNorm1D(6))
    x = draw(8, 4)
    expected = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    close(run(layer, x), expected * layer.weight.numpy()[:4] + layer.bias.numpy()[:4])


def test_the_older_batch_norm_has_an_activation():
    layer = randomised(L.SuperBatchNorm(3, act="relu"))
    assert run(layer, draw(4, 2, 3, 3)).min().item() == 0.0


def test_instance_norm():
    layer = randomised(L.SuperInstanceNorm2D(6))
    x = draw(3, 4, 5, 5)
    expected = (x - x.mean((2, 3), keepdims=True)) / np.sqrt(x.var((2, 3), keepdims=True) + 1e-5)
    expected = expected * layer.scale.numpy()[:4, None, None] + layer.bias.numpy()[:4, None, None]
    close(run(layer, x), expected)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("features", [8, 5])
def test_layer_norm(batch, features):
    layer = randomised(L.SuperLayerNorm(8))
    x = draw(batch, 5, features)
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    expected = expected * layer.weight.numpy()[:features] + layer.bias.numpy()[:features]
    close(run(layer, x), expected)


def test_layer_norm_over_several_axes():
    layer = randomised(L.SuperLayerNorm([4, 3, 3]))
    x = draw(2, 2, 3, 3)
    axes = (1, 2, 3)
    expected = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    weight, bias = (p.numpy().reshape(4, 3, 3)[:2] for p in (layer.weight, layer.bias))
    close(run(layer, x), expected * weight + bias)


# Attention


def attend(layer, x, heads, mask=None, head_mask=None):
    """One head at a time; ``mask`` is added, ``[batch, 1 or heads, query_len, key_len]``."""
    w = {name: p.numpy().astype("float64") for name, p in layer.named_parameters()}
    dim, contexts = layer.head_dim, []
    for head in range(heads):
        at = slice(head * dim, (head + 1) * dim)
        q, k, v = (
            x @ w[f"{n}_proj.fn.weight"][: x.shape[-1], at] + w[f"{n}_proj.fn.bias"][at]
            for n in "qkv"
        )
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(dim)
        if mask is not None:
            scores = scores + mask[:, head if mask.shape[1] > 1 else 0]
        probs = np.exp(scores - scores.max(-1, keepdims=True))
        probs /= probs.sum(-1, keepdims=True)
        contexts.append(probs @ v * (1.0 if head_mask is None else head_mask[head]))
    context = np.concatenate(contexts, -1)
    return context @ w["out_proj.fn.weight"][: heads * dim] + w["out_proj.fn.bias"]


@pytest.mark.parametrize("heads", [1, 2, 5, 6])
def test_attention_of_some_heads(heads):
    layer = randomised(L.SuperMultiHeadAttention(12, 6))
    layer.eval()
    x = draw(2, 4, 12)
    mask = np.where(np.arange(4) < 3, 0.0, -1e4).astype("float32")[None, None, None]
    head_mask = draw(6)
    close(layer(paddle.to_tensor(x), num_heads=heads), attend(layer, x, heads), atol=1e-4)
    out = layer(
        paddle.to_tensor(x),
        attn_mask=paddle.to_tensor(mask),
        num_heads=heads,
        head_mask=paddle.to_tensor(head_mask),
    )
    close(out, attend(layer, x, heads, mask, head_mask), atol=1e-4)


@pytest.mark.parametrize("heads", [2, 6])
def test_masks_of_every_kind_and_per_head(heads):
    layer = randomised(L.SuperMultiHeadAttention(12, 6))
    layer.eval()
    x = draw(2, 4, 12)
    # Each head of each text sees others, and itself.
    seen = (draw(2, 6, 4, 4) > 0) | np.eye(4, dtype=bool)
    added = np.where(seen, 0.0, -1e9).astype("float32")
    results = [
        layer(paddle.to_tensor(x), attn_mask=paddle.to_tensor(mask), num_heads=heads)
        for mask in (added, seen, seen.astype("int64"))
    ]
    close(results[0], attend(layer, x, heads, added))
    np.testing.assert_allclose(results[1].numpy(), results[0].numpy(), atol=1e-6)
    np.testing.assert_allclose(results[2].numpy(), results[0].numpy(), atol=1e-6)


def test_full_attention_is_paddles_with_caches_too():
    plain = nn.MultiHeadAttention(12, 3, kdim=5, vdim=7, need_weights=True)
    layer = L.SuperMultiHeadAttention(12, 3, kdim=5, vdim=7, need_weights=True)
    randomised(plain)
    for name, parameter in layer.named_parameters():
        parameter.set_value(dict(plain.named_parameters())[name.replace(".fn", "")])
    q, k, v = (paddle.to_tensor(draw(2, 4, n)) for n in (12, 5, 7))
    for cache in (None, "static"):
        results = []
        for attention in (plain, layer):
            static = cache and attention.gen_cache(k, v, type=attention.StaticCache)
            results.append(attention(q, k, v, cache=static)[:2])
        for one, other in zip(*results, strict=True):
            close(one, other.numpy(), atol=1e-5)
    plain, layer = nn.MultiHeadAttention(12, 3), L.SuperMultiHeadAttention(12, 3)
    randomised(plain)
    for name, parameter in layer.named_parameters():
        parameter.set_value(dict(plain.named_parameters())[name.replace(".fn", "")])
    results = []
    for attention in (plain, layer):
        cache = attention.gen_cache(q)
        for step in range(3):
            out, cache = attention(q[:, step : step + 1], cache=cache)
        results.append((out, *cache))
    for one, other in zip(*results, strict=True):
        close(one, other.numpy(), atol=1e-5)


def test_more_heads_than_there_are():
    with pytest.raises(InputError, match="num_heads must be 1 to 3; got 4"):
        L.SuperMultiHeadAttention(12, 3)(paddle.ones([1, 2, 12]), num_heads=4)


def test_layer_norm_without_weights_and_gradients_of_a_part():
    x = draw(3, 5)
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    close(run(L.SuperLayerNorm(8, weight_attr=False, bias_attr=False), x), expected)
    close(run(L.SuperLayerNorm(8, weight_attr=False), x), expected)
    layer = randomised(L.SuperLayerNorm(8))
    run(layer, x).sum().backward()
    close(layer.bias.grad, [3.0] * 5 + [0.0] * 3)
    close(layer.weight.grad, [*expected.sum(0), 0.0, 0.0, 0.0])


def test_statistics_that_are_always_used_do_not_move():
    layer = randomised(L.SuperBatchNorm2D(6, use_global_stats=True))
    before = layer._mean.numpy()
    x = draw(5, 4, 3, 2)
    mean, variance, weight, bias = (
        p.numpy()[:4, None, None] for p in (layer._mean, layer._variance, layer.weight, layer.bias)
    )
    close(run(layer, x), (x - mean) / np.sqrt(variance + 1e-5) * weight + bias)
    np.testing.assert_array_equal(layer._mean.numpy(), before)


@pytest.mark.parametrize("features", [3, 5])
@pytest.mark.parametrize(
    "norm",
    [L.SuperBatchNorm2D(5, use_global_stats=False), L.SuperBatchNorm(5, trainable_statistics=True)],
    ids=["BatchNorm2D", "BatchNorm"],
)
def test_statistics_of_the_batch_in_evaluation_too(norm, features):
    norm._mean.set_value(np.zeros(5, "float32"))
    norm.eval()
    x = draw(4, features, 3, 3)
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    expected = (x - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-5)
    close(run(norm, x), expected, atol=1e-5)
    close(norm._mean, np.pad(0.1 * mean, (0, 5 - features)), atol=1e-6)


def test_norms_in_nhwc():
    layer = randomised(L.SuperBatchNorm2D(6, data_format="NHWC"))
    x = draw(5, 3, 2, 4)
    expected = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    close(run(layer, x), expected * layer.weight.numpy()[:4] + layer.bias.numpy()[:4])
