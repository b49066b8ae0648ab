"""Statistics of a sub-network's norms, recomputed on batches, beside NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ofa_bert.errors import InputError
from ofa_bert.ofa.calibrate import calibrate, recompute_statistics
from ofa_bert.ofa.convert_super import Convert, supernet
from ofa_bert.ofa.ofa import OFA
from tests.tiny import paddle, randomise

nn = paddle.nn


class ConvNet(nn.Layer):
    """Two convolutions with norms, dropout between them, and a classifier."""

    def __init__(self):
        super().__init__()
        self.first, self.norm1 = nn.Conv2D(1, 4, 1), nn.BatchNorm2D(4, epsilon=1e-3)
        self.dropout = nn.Dropout(0.5)
        self.second, self.norm2 = nn.Conv2D(4, 6, 1), nn.BatchNorm2D(6)
        self.out = nn.Linear(6, 3)

    def forward(self, x):
        x = self.dropout(nn.functional.relu(self.norm1(self.first(x))))
        return self.out(nn.functional.relu(self.norm2(self.second(x))).mean([2, 3]))


def random_net():
    model = ConvNet()
    randomise(model, scale=0.8)
    generator = np.random.default_rng(5)
    for norm in (model.norm1, model.norm2):
        norm._mean.set_value(generator.normal(size=norm._mean.shape).astype("float32"))
        norm._variance.set_value(generator.uniform(1, 2, norm._mean.shape).astype("float32"))
    return model


def batches_of(*sizes, seed=0):
    generator = np.random.default_rng(seed)
    return [
        paddle.to_tensor(generator.normal(i, 1.0 + i, (size, 1, 2, 3)).astype("float32"))
        for i, size in enumerate(sizes)
    ]


def pointwise(x, layer, width):
    """A convolution of kernel 1, cut to prefixes, in NumPy: ``[n, c, h, w]``."""
    weight = layer.weight.numpy().astype("float64")[:width, : x.shape[1], 0, 0]
    bias = layer.bias.numpy().astype("float64")[:width]
    return np.einsum("nchw,oc->nohw", x, weight) + bias[:, None, None]


def statistics_by_hand(model, batches, width1=4, width2=6):
    """Means and variances of each norm's inputs, batch by batch, weighted by batch size."""
    sums = np.zeros(2 * (width1 + width2))
    for batch in batches:
        x = pointwise(batch.numpy().astype("float64"), model.first, width1)
        mean1, var1 = x.mean((0, 2, 3)), x.var((0, 2, 3))
        normed = (x - mean1[:, None, None]) / np.sqrt(var1 + 1e-3)[:, None, None]
        weight, bias = model.norm1.weight.numpy()[:width1], model.norm1.bias.numpy()[:width1]
        x = np.maximum(normed * weight[:, None, None] + bias[:, None, None], 0)
        x = pointwise(x, model.second, width2)
        found = [mean1, var1, x.mean((0, 2, 3)), x.var((0, 2, 3))]
        sums += len(batch) * np.concatenate(found)
    return np.split(sums / sum(map(len, batches)), np.cumsum([width1, width1, width2]))


def statistics(model, width1=4, width2=6):
    norms = ((model.norm1, width1), (model.norm2, width2))
    return [s.numpy()[:w] for norm, w in norms for s in (norm._mean, norm._variance)]


def assert_close(found, expected):
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)


def test_statistics_are_averages_over_batches_of_any_size():
    model, batches = random_net(), batches_of(5, 2, 8)
    recompute_statistics(model, model, batches)
    assert_close(statistics(model), statistics_by_hand(model, batches))


def test_what_a_network_computes_afterwards():
    """With one batch, eval mode then normalises that batch as training did."""
    model, (batch,) = random_net(), batches_of(7)
    recompute_statistics(model, model, [batch])
    model.eval()
    found = model.norm1(model.first(batch)).numpy()
    x = pointwise(batch.numpy().astype("float64"), model.first, 4)
    normed = (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(
        x.var((0, 2, 3), keepdims=True) + 1e-3
    )
    weight, bias = model.norm1.weight.numpy(), model.norm1.bias.numpy()
    expected = normed * weight[:, None, None] + bias[:, None, None]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_norm_that_runs_twice_averages_both():
    class Twice(nn.Layer):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1D(2)

        def forward(self, x):
            return self.norm(x) + self.norm(3 * x)

    model, x = Twice(), np.array([[1.0, 2.0], [3.0, 8.0]], "float32")
    recompute_statistics(model, model, [paddle.to_tensor(x)])
    # Means (2, 5) and (6, 15); variances (1, 9) and nine times as much.
    np.testing.assert_allclose(model.norm._mean.numpy(), [4, 10])
    np.testing.assert_allclose(model.norm._variance.numpy(), [5, 45])


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2D(3, data_format="NHWC"), nn.BatchNorm(3, data_layout="NHWC")]
)
def test_channels_last(norm):
    x = np.random.default_rng(0).normal(2, 3, (4, 2, 5, 3)).astype("float32")
    recompute_statistics(norm, norm, [paddle.to_tensor(x)])
    np.testing.assert_allclose(norm._mean.numpy(), x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(norm._variance.numpy(), x.var((0, 1, 2)), rtol=1e-5)


def test_nothing_else_changes():
    model, batches = random_net(), batches_of(3, 4)
    model.train()
    model.norm2.eval()
    weights = [parameter.numpy() for parameter in model.parameters() if parameter.trainable]
    modes = [layer.training for layer in model.sublayers(include_self=True)]
    random_state = paddle.get_rng_state()
    drawn = paddle.rand([4]).numpy()
    paddle.set_rng_state(random_state)
    recompute_statistics(model, model, batches)
    np.testing.assert_array_equal(paddle.rand([4]).numpy(), drawn)
    assert [layer.training for layer in model.sublayers(include_self=True)] == modes
    assert not any(layer._forward_pre_hooks for layer in model.sublayers())
    assert all(parameter.grad is None for parameter in model.parameters())
    kept = [parameter.numpy() for parameter in model.parameters() if parameter.trainable]
    for before, after in zip(weights, kept, strict=True):
        np.testing.assert_array_equal(after, before)


def test_statistics_that_are_meant_to_stay_do():
    model, batches = random_net(), batches_of(3)
    model.norm1._use_global_stats = True
    before = statistics(model)
    recompute_statistics(model, model, batches)
    after = statistics(model)
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_array_equal(after[1], before[1])
    assert not np.allclose(after[2], before[2])


def test_a_failed_call_leaves_all_as_it_was():
    model, batches = random_net(), [*batches_of(3), paddle.ones([2, 5, 2, 3])]
    before = statistics(model)
    with pytest.raises(ValueError, match="channel"):
        recompute_statistics(model, model, batches)
    for one, two in zip(statistics(model), before, strict=True):
        np.testing.assert_array_equal(one, two)
    assert all(layer.training for layer in model.sublayers())
    assert not any(layer._forward_pre_hooks for layer in model.sublayers())


def test_no_batches_and_no_norms_are_errors():
    model = random_net()
    with pytest.raises(InputError, match="calibration needs batches; got none; give at least one"):
        recompute_statistics(model, model, [])
    linear = nn.Linear(2, 2)
    with pytest.raises(InputError, match="no BatchNorm that runs in Linear; leave it out"):
        recompute_statistics(linear, linear, [paddle.ones([1, 2])])


def test_a_batch_is_no_list_of_batches():
    model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(random_net())
    with pytest.raises(InputError, match=r"a list or a loader of batches; .* type \[batch\]"):
        calibrate(OFA(model), {}, paddle.ones([2, 3, 4, 4]))


def test_a_sub_network_has_statistics_of_its_own():
    """At half width: prefixes of the weights, in NumPy; the other channels' statistics stay."""
    plain, batches = random_net(), batches_of(5, 2, 8)
    rest = [s[w:] for s, w in zip(statistics(plain), (2, 2, 3, 3), strict=True)]
    converted = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(random_net())
    ofa = OFA(converted)
    ofa.trace(batches[0])
    full = {"first": {"expand_ratio": 1.0}, "second": {"expand_ratio": 1.0}}
    ofa.set_net_config(full)
    half = {"first": {"expand_ratio": 0.5}, "second": {"expand_ratio": 0.5}}
    calibrate(ofa, half, batches)
    assert_close(statistics(ofa.model, 2, 3), statistics_by_hand(plain, batches, 2, 3))
    for found, before, width in zip(statistics(ofa.model), rest, (2, 2, 3, 3), strict=True):
        np.testing.assert_array_equal(found[width:], before)
    assert ofa.get_current_config["first"] == {"expand_ratio": 1.0}


class Reader(nn.Layer):
    """A small network for digits."""

    def __init__(self):
        super().__init__()
        self.convs = nn.LayerList(
            [nn.Conv2D(size, 24, 3, stride, 1) for size, stride in [(1, 1), (24, 2), (24, 1)]]
        )
        self.norms = nn.LayerList([nn.BatchNorm2D(24) for _ in self.convs])
        self.out = nn.Linear(24 * 16, 10)

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = nn.functional.relu(norm(conv(x)))
        return self.out(x.flatten(1))


def test_the_accuracy_it_returns():
    """A quarter of the channels reads badly with the statistics of all, and well with its own."""
    paddle.seed(0)
    images, labels = load_digits(return_X_y=True)
    images = paddle.to_tensor((images / 16).astype("float32").reshape(-1, 1, 8, 8))
    labels = paddle.to_tensor(labels)
    ofa = OFA(Convert(supernet(expand_ratio=[0.25, 1.0])).convert(Reader()))
    ofa.trace(images[:2])
    full, quarter = ({name: {"expand_ratio": r} for name in ofa.ofa_layers} for r in (1.0, 0.25))
    optimizer = paddle.optimizer.Adam(3e-3, parameters=ofa.parameters())
    for step in range(60):
        rows = slice(step % 15 * 64, step % 15 * 64 + 64)
        for config in (full, quarter):
            ofa.set_net_config(config)
            nn.functional.cross_entropy(ofa(images[rows]), labels[rows]).backward()
        optimizer.step()
        optimizer.clear_grad()

    def accuracy_of_quarter(statistics_of):
        calibrate(ofa, statistics_of, [images[i : i + 100] for i in range(0, 900, 100)])
        ofa.eval()
        return (ofa(images[1000:]).argmax(-1) == labels[1000:]).astype("float32").mean().item()

    ofa.set_net_config(quarter)
    # 0.73 and 0.89 here; 797 digits, so that a point is 8 of them.
    assert accuracy_of_quarter(quarter) > accuracy_of_quarter(full) + 0.1
