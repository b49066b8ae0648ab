"""Our own CPU kernels: linear, LayerNorm, dropout."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ofa_bert.nn.dropout import STEPS, Dropout, keep_mask, reseed
from ofa_bert.nn.layer_norm import LayerNorm
from ofa_bert.nn.linear import ElasticLinear
from ofa_bert.nn.placement import column_sums, spread_column, spread_row, trains_on_cpu
from tests import oracles
from tests.tiny import randomise

import paddle  # isort: skip
import paddle.nn.functional as F  # isort: skip

IN, OUT = 6, 5
SHAPES = [(4,), (3, 4)]
"""Leading axes: rows alone, and [batch, seq_len]."""


def normal(*shape, seed=0, dtype="float64"):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def tensor(values, *, needs_grad=True):
    return paddle.to_tensor(values, stop_gradient=not needs_grad)


def linear(dtype="float64"):
    layer = ElasticLinear(IN, OUT)
    randomise(layer, seed=3)
    return layer.to(dtype=dtype)


def norm(dtype="float64", eps=1e-5):
    layer = LayerNorm(IN, epsilon=eps)
    layer.weight.set_value(normal(IN, seed=1).astype("float32"))
    layer.bias.set_value(normal(IN, seed=2).astype("float32"))
    return layer.to(dtype=dtype)


def freeze(layer):
    for parameter in layer.parameters():
        parameter.stop_gradient = True
    return layer


def backward(layer, x, *args):
    """Weight the outputs at random and give them, the weights and the gradient of ``x``."""
    inputs = tensor(x)
    output = layer(inputs, *args)
    direction = normal(*output.shape, seed=9, dtype=x.dtype)
    (output * tensor(direction, needs_grad=False)).sum().backward()
    return output.numpy(), direction, inputs.grad.numpy()


def finite_differences(function, values, step=1e-6):
    """Give d function / d values for a scalar function of an array, by central differences."""
    slopes = np.zeros_like(values)
    for place in np.ndindex(*values.shape):
        sides = []
        for sign in (1, -1):
            moved = values.copy()
            moved[place] += sign * step
            sides.append(function(moved))
        slopes[place] = (sides[0] - sides[1]) / (2 * step)
    return slopes


# Linear


@pytest.mark.parametrize("shape", SHAPES)
def test_linear_equals_paddles_own_and_its_gradients(shape):
    ours = linear("float32")
    theirs = {name: tensor(p.numpy()) for name, p in ours.named_parameters()}
    x = normal(*shape, IN, dtype="float32")
    output, direction, grad_x = backward(ours, x)
    their_x = tensor(x)
    expected = F.linear(their_x, theirs["weight"], theirs["bias"])
    (expected * tensor(direction, needs_grad=False)).sum().backward()
    # float32; sums of at most 12 terms of size 1.
    close = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(output, expected.numpy(), **close)
    np.testing.assert_allclose(grad_x, their_x.grad.numpy(), **close)
    for name, parameter in ours.named_parameters():
        np.testing.assert_allclose(parameter.grad.numpy(), theirs[name].grad.numpy(), **close)


@pytest.mark.parametrize(("num_in", "num_out"), [(IN, OUT), (4, OUT), (IN, 3), (2, 1)])
def test_linear_gradients_equal_finite_differences_and_touch_the_prefix_alone(num_in, num_out):
    layer = linear()
    x = normal(2, 3, num_in)
    weight, bias = (p.numpy() for p in (layer.weight, layer.bias))
    output, direction, grad_x = backward(layer, x, num_out)

    def value(x, weight, bias):
        return ((x @ weight[:num_in, :num_out] + bias[:num_out]) * direction).sum()

    np.testing.assert_allclose(output, x @ weight[:num_in, :num_out] + bias[:num_out], rtol=1e-12)
    # Central differences of a function linear in each argument: only rounding is left.
    expected = [
        finite_differences(lambda v: value(v, weight, bias), x),
        finite_differences(lambda v: value(x, v, bias), weight),
        finite_differences(lambda v: value(x, weight, v), bias),
    ]
    found = [grad_x, layer.weight.grad.numpy(), layer.bias.grad.numpy()]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)
    assert not layer.weight.grad.numpy()[num_in:].any()
    assert not layer.weight.grad.numpy()[:, num_out:].any()
    assert not layer.bias.grad.numpy()[num_out:].any()


@pytest.mark.parametrize("num_out", [OUT, 3])
def test_a_frozen_linear_has_no_gradients_and_passes_the_right_one_on(num_out):
    layer = freeze(linear())
    _, direction, grad_x = backward(layer, normal(3, 2, IN), num_out)
    assert (layer.weight.grad, layer.bias.grad) == (None, None)
    weight = layer.weight.numpy()[:, :num_out]
    np.testing.assert_allclose(grad_x, direction @ weight.T, rtol=1e-12)


def test_a_linear_on_ids_that_need_no_gradient_still_trains_its_weight():
    layer, x = linear(), normal(4, IN)
    (layer(tensor(x, needs_grad=False)) ** 2).sum().backward()
    output = x @ layer.weight.numpy() + layer.bias.numpy()
    np.testing.assert_allclose(layer.weight.grad.numpy(), x.T @ (2 * output), rtol=1e-10)


def test_paddle_grad_of_a_linears_input_alone_is_right():
    layer, x = freeze(linear()), tensor(normal(4, IN))
    (grad,) = paddle.grad((layer(x) ** 2).sum(), [x])
    output = x.numpy() @ layer.weight.numpy() + layer.bias.numpy()
    np.testing.assert_allclose(grad.numpy(), 2 * output @ layer.weight.numpy().T, rtol=1e-10)


def test_paddle_grad_of_all_that_is_trained_is_right():
    layer, x = linear(), tensor(normal(4, IN))
    found = paddle.grad((layer(x) ** 2).sum(), [x, layer.weight, layer.bias])
    outer = 2 * (x.numpy() @ layer.weight.numpy() + layer.bias.numpy())
    expected = [outer @ layer.weight.numpy().T, x.numpy().T @ outer, outer.sum(0)]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-10)
    assert layer.weight.grad is None


@pytest.mark.parametrize("make", [linear, norm])
def test_paddle_grad_of_a_part_of_what_is_trained_is_refused_not_wrong(make):
    """paddle cannot tell a PyLayer's backward which gradients ``paddle.grad`` leaves out."""
    layer, x = make(), tensor(normal(4, IN))
    with pytest.raises(ValueError, match="backward function should return None at 1 position"):
        paddle.grad((layer(x) ** 2).sum(), [x])


@pytest.mark.parametrize("make", [linear, norm])
def test_without_gradients_the_answer_is_the_same_and_paddles_kernel_gives_it(make):
    layer, x = make("float32"), tensor(normal(2, 3, IN, dtype="float32"))
    recorded = layer(x)
    with paddle.no_grad():
        assert not trains_on_cpu(x)
        plain = layer(x)
    assert plain.stop_gradient
    np.testing.assert_allclose(plain.numpy(), recorded.numpy(), rtol=1e-6, atol=1e-6)


# LayerNorm


def numpy_norm(layer):
    weight, bias = layer.weight.numpy(), layer.bias.numpy()
    return lambda x: oracles.layer_norm(x, weight, bias, layer._epsilon)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("eps", [1e-12, float(np.float32(1e-3))])
def test_layer_norm_and_its_gradients_equal_numpy(shape, eps):
    # Rows of variance near 0.01, so that the larger epsilon shows. Kernels hold it in float32.
    layer, x = norm(eps=eps), 0.1 * normal(*shape, IN)
    weight, bias = layer.weight.numpy(), layer.bias.numpy()
    output, direction, grad_x = backward(layer, x)
    np.testing.assert_allclose(output, oracles.layer_norm(x, weight, bias, eps), rtol=1e-9)

    def value(x, weight, bias):
        return (oracles.layer_norm(x, weight, bias, eps) * direction).sum()

    found = [grad_x, layer.weight.grad.numpy(), layer.bias.grad.numpy()]
    expected = [
        finite_differences(lambda v: value(v, weight, bias), x),
        finite_differences(lambda v: value(x, v, bias), weight),
        finite_differences(lambda v: value(x, weight, v), bias),
    ]
    for ours, theirs in zip(found, expected, strict=True):
        # Central differences with step 1e-6 are off by the third derivative times 1e-12, and by
        # rounding of 1e-16 / 1e-6.
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.parametrize("frozen", [("weight",), ("bias",), ("weight", "bias")])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_frozen_layer_norm_passes_the_right_gradient_on(frozen, shape):
    layer, x = norm(), normal(*shape, IN)
    for name in frozen:
        getattr(layer, name).stop_gradient = True
    _, direction, grad_x = backward(layer, x)
    expected = finite_differences(lambda v: (numpy_norm(layer)(v) * direction).sum(), x)
    np.testing.assert_allclose(grad_x, expected, atol=1e-7)
    for name in ("weight", "bias"):
        assert (getattr(layer, name).grad is None) == (name in frozen)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_paddle_grad_of_a_layer_norms_input_alone_is_right(shape, dtype):
    """What paddle 3.3.1's own CPU kernel gets wrong."""
    layer, x = freeze(norm(dtype)), normal(*shape, IN, dtype=dtype)
    inputs = tensor(x)
    direction = normal(*x.shape, seed=9, dtype=dtype)
    (grad,) = paddle.grad((layer(inputs) * tensor(direction)).sum(), [inputs])
    exact = norm().to(dtype="float64")
    expected = finite_differences(
        lambda v: (numpy_norm(exact)(v) * direction).sum(), x.astype("float64")
    )
    atol = 1e-5 if dtype == "float32" else 1e-7
    np.testing.assert_allclose(grad.numpy(), expected, atol=atol)


def test_layer_norm_ignores_shift_and_scale_of_a_row():
    layer, x = norm(eps=1e-12), normal(4, IN)
    moved = 3.0 * x + normal(4, 1, seed=5)
    np.testing.assert_allclose(layer(tensor(moved)).numpy(), layer(tensor(x)).numpy(), rtol=1e-8)


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_column_sums(rows):
    x = normal(rows, IN)
    np.testing.assert_allclose(column_sums(tensor(x)).numpy(), x.sum(0), rtol=1e-9, atol=1e-12)


# Dropout

ROWS, COLUMNS = 2000, 100


def dropout(rate, seed=0):
    layer = Dropout(rate)
    reseed(paddle.nn.Sequential(layer), seed)
    return layer


def dropped(layer, *shape):
    """Where a dropout in training puts zeros, as 0 and 1."""
    return (layer(tensor(np.ones(shape, "float32"))).numpy() == 0.0).astype("float64")


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def assert_uncorrelated(a, b):
    """5 standard errors of a correlation of independent numbers."""
    assert abs(correlation(a, b)) < 5 / np.sqrt(a.size)


def test_dropout_does_nothing_in_eval_mode_or_at_rate_0():
    x = tensor(normal(3, 4, dtype="float32"))
    resting = dropout(0.5)
    resting.eval()
    for layer in (resting, dropout(0.0)):
        np.testing.assert_array_equal(layer(x).numpy(), x.numpy())


def test_dropout_at_rate_1_leaves_nothing():
    assert not dropout(1.0)(tensor(np.ones((50, 40), "float32"))).numpy().any()


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_the_fraction_dropped_is_the_rate_and_the_mean_stays(rate):
    output = dropout(rate)(tensor(np.ones((ROWS, COLUMNS), "float32"))).numpy()
    count = output.size
    sigma = np.sqrt(rate * (1 - rate) / count)
    assert abs((output == 0.0).mean() - rate) < 5 * sigma
    # What is kept is 1 / (1 - rate); the rate is rounded to 1 / STEPS.
    kept = output[output != 0.0]
    assert kept.min() == kept.max() == pytest.approx(1 / (1 - rate), rel=1.0 / STEPS)
    assert abs(output.mean(dtype="float64") - 1.0) < 5 * sigma / (1 - rate)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_keep_mask_keeps_the_mean_at_any_of_its_rates(rate):
    # Exactly: kept share times factor, over all 2^16 draws there are, is 1.
    class Every:
        def integers(self, low, high, size, dtype):
            assert (low, high, 4 * size, dtype) == (0, 1 << 64, STEPS, np.uint64)
            return np.arange(STEPS, dtype=np.uint16).view(np.uint64)

    mask = keep_mask(Every(), [STEPS], rate)
    assert mask.mean(dtype="float64") == pytest.approx(1.0, abs=1e-7)
    assert (mask == 0.0).sum() == round(rate * STEPS)


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("axis", [0, 1])
def test_every_place_is_dropped_equally_often(rate, axis):
    drops = dropped(dropout(rate, seed=4), ROWS, COLUMNS)
    counts, draws = drops.sum(axis), drops.shape[axis]
    statistic = ((counts - draws * rate) ** 2 / (draws * rate * (1 - rate))).sum()
    # Two-sided, one in a million: too even is as wrong as too uneven.
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], df=len(counts))
    assert low < statistic < high


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("lag", [1, 2, 4, 8])
def test_neighbours_are_dropped_independently(rate, lag):
    flat = dropped(dropout(rate, seed=5), ROWS, COLUMNS).ravel()
    assert_uncorrelated(flat[lag:], flat[:-lag])


def test_layers_calls_and_seeds_draw_independently():
    model = paddle.nn.Sequential(Dropout(0.5), Dropout(0.5))
    shape = (ROWS, COLUMNS)
    reseed(model, 0)
    drawn = {f"layer {n}": dropped(layer, *shape) for n, layer in enumerate(model)}
    drawn["second call"] = dropped(model[0], *shape)
    reseed(model, 1)
    drawn["next seed"] = dropped(model[0], *shape)
    drawn["next seed, layer 1"] = dropped(model[1], *shape)
    names = list(drawn)
    for i, first in enumerate(names):
        for second in names[:i]:
            assert_uncorrelated(drawn[first], drawn[second])


def test_the_same_seed_draws_the_same():
    first, second = (dropped(dropout(0.3, seed=8), 50, 40) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_reseeding_reaches_the_dropout_of_other_devices_too():
    draws = []
    for _ in range(2):
        reseed(paddle.nn.Sequential(Dropout(0.5)), 3)
        draws.append(paddle.rand([5]).numpy())
    np.testing.assert_array_equal(*draws)


def test_without_gradients_dropout_is_paddles_and_drops_half():
    layer = dropout(0.5, seed=1)
    with paddle.no_grad():
        output = layer(paddle.ones([ROWS, COLUMNS])).numpy()
    assert np.unique(output).tolist() == [0.0, 2.0]
    # Five standard deviations of the share of so many coins.
    assert abs((output == 0.0).mean() - 0.5) < 5 * 0.5 / np.sqrt(output.size)


def test_the_gradient_of_dropout_is_its_mask():
    x = normal(30, 20, dtype="float32") + 10.0  # away from 0, to read the mask off
    output, direction, grad_x = backward(dropout(0.4), x)
    np.testing.assert_allclose(grad_x, direction * output / x, rtol=1e-5)
    assert 0 < (grad_x == 0.0).sum() < x.size


def test_columns_and_rows_are_spread_as_numpy_does():
    values = np.random.default_rng(0).normal(size=5).astype("float32")
    column = spread_column(paddle.to_tensor(values[:, None]), 3).numpy()
    np.testing.assert_array_equal(column, np.repeat(values[:, None], 3, axis=1))
    row = spread_row(paddle.to_tensor(values), [2, 4, 5]).numpy()
    np.testing.assert_array_equal(row, np.broadcast_to(values, (2, 4, 5)))
