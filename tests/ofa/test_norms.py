"""Elastic norms normalise what arrives, and move only the statistics of that."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.ofa import layers as L
from tests.ofa.values import close, draw, randomised, run

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


def test_norms_in_nhwc():
    layer = randomised(L.SuperBatchNorm2D(6, data_format="NHWC"))
    x = draw(5, 3, 2, 4)
    expected = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    close(run(layer, x), expected * layer.weight.numpy()[:4] + layer.bias.numpy()[:4])


def test_the_older_batch_norm_has_an_activation():
    layer = randomised(L.SuperBatchNorm(3, act="relu"))
    assert run(layer, draw(4, 2, 3, 3)).min().item() == 0.0


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


def test_layer_norm_without_weights_and_gradients_of_a_part():
    x = draw(3, 5)
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    close(run(L.SuperLayerNorm(8, weight_attr=False, bias_attr=False), x), expected)
    close(run(L.SuperLayerNorm(8, weight_attr=False), x), expected)
    layer = randomised(L.SuperLayerNorm(8))
    run(layer, x).sum().backward()
    close(layer.bias.grad, [3.0] * 5 + [0.0] * 3)
    close(layer.weight.grad, [*expected.sum(0), 0.0, 0.0, 0.0])
