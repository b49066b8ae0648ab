"""Kernels grow, and those that cannot stay, whatever their shape and padding."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.ofa import OFA, Convert, supernet
from tests.ofa.values import draw, randomised
from tests.tiny import paddle

nn = paddle.nn


def test_kernels_of_one_even_ones_and_oblong_ones_have_no_choice():
    model = nn.Sequential(
        nn.Conv2D(2, 2, 1), nn.Conv2D(2, 2, 4), nn.Conv2D(2, 2, (3, 1)), nn.Conv2D(2, 2, 7)
    )
    Convert(supernet(kernel_size=(3, 5))).convert(model)
    assert [type(layer) for layer in model][:3] == [nn.Conv2D] * 3
    assert model[3].candidate_config == {"kernel_size": [3, 5, 7]}
    assert model[3].weight.shape[2:] == [7, 7]


@pytest.mark.parametrize("padding", [0, 1, [1, 2], [1, 0, 2, 1], "SAME"], ids=str)
@pytest.mark.parametrize("kernel", [(3, 5), (7, 1), (1, 3), 4], ids=str)
@pytest.mark.parametrize("cls", [nn.Conv2D, nn.Conv2DTranspose])
def test_oblong_and_even_kernels_compute_what_they_did(cls, kernel, padding):
    network = randomised(nn.Sequential(cls(3, 4, kernel, padding=padding), nn.Conv2D(4, 2, 1)))
    x = paddle.to_tensor(draw(1, 3, 9, 9))
    expected, first = network(x).numpy(), network[0](x).numpy()
    Convert(supernet(kernel_size=(3, 5), expand_ratio=[0.5, 1.0])).convert(network)
    np.testing.assert_allclose(network(x).numpy(), expected, atol=1e-5)
    half = network[0](x, expand_ratio=0.5).numpy()
    np.testing.assert_allclose(half, first[:, :2], atol=1e-5)
    plain = OFA(network).export({"0": {"expand_ratio": 0.5}}, [[1, 3, 9, 9]], "float32")
    np.testing.assert_allclose(plain[0](x).numpy(), first[:, :2], atol=1e-5)


PAIRS = [[0, 0], [0, 0], [0, 0], [2, 1]]


@pytest.mark.parametrize(
    "settings",
    [
        {"padding": 2},
        {"padding": [1, 2]},
        {"padding": [1, 2, 0, 1]},
        {"padding": PAIRS},
        {"padding": "SAME"},
        {"padding": "VALID"},
        {"padding": 1, "stride": 2, "dilation": 2},
        {"padding": [2, 0], "dilation": [1, 2]},
        {"padding": 1, "padding_mode": "reflect"},
        {"padding": 1, "padding_mode": "circular"},
    ],
    ids=str,
)
def test_a_kernel_grows_whatever_the_padding(settings):
    layers = [nn.Conv2D(3, 4, 3, **settings)]
    if "padding_mode" not in settings and settings["padding"] is not PAIRS:
        layers.append(nn.Conv2DTranspose(3, 4, 3, **settings))
    x = paddle.to_tensor(draw(1, 3, 9, 9))
    for layer in map(randomised, layers):
        expected = layer(x).numpy()
        (grown,) = Convert(supernet(kernel_size=(3, 5, 7))).convert([layer])
        assert grown.weight.shape[2:] == [7, 7]
        for sizes in ({}, {"kernel_size": 5}, {"kernel_size": 3}):
            np.testing.assert_allclose(grown(x, **sizes).numpy(), expected, atol=1e-5)
        plain = OFA(nn.Sequential(grown)).export(
            {"0": {"kernel_size": 3}}, [[1, 3, 9, 9]], "float32"
        )
        np.testing.assert_allclose(plain(x).numpy(), expected, atol=1e-5)
