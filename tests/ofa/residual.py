"""A convolutional network with a residual block, and the same in NumPy at any width."""

from __future__ import annotations

import numpy as np

from ofa_bert.ofa import Convert, RunConfig, supernet
from tests.ofa.oracles import conv, conv_transpose, original_weights
from tests.ofa.values import draw, randomised
from tests.tiny import paddle

nn = paddle.nn


class Residual(nn.Layer):
    """A stem, a residual block with a depthwise convolution, and a classifier."""

    def __init__(self, norm=nn.BatchNorm2D) -> None:
        super().__init__()
        self.stem = nn.Conv2D(3, 8, 3, padding=1)
        self.norm = norm(8)
        self.expand = nn.Conv2D(8, 12, 1, bias_attr=False)
        self.depthwise = nn.Conv2D(12, 12, 3, padding=1, groups=12)
        self.project = nn.Conv2D(12, 8, 1)
        self.grouped = nn.Conv2D(8, 8, 3, stride=2, groups=4)
        self.up = nn.Conv2DTranspose(8, 6, 3)
        self.instance = nn.InstanceNorm2D(6)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = nn.functional.relu(self.norm(self.stem(x)))
        x = x + self.project(nn.functional.relu(self.depthwise(self.expand(x))))
        x = self.instance(self.up(self.grouped(x)))
        return self.head(x.mean([2, 3]))


IMAGES = paddle.to_tensor(draw(2, 3, 8, 8))
TIED = RunConfig(same_search_space=[["stem", "project"]])


def residual(norm=nn.BatchNorm2D):
    space = supernet(kernel_size=(3, 5), expand_ratio=[0.5, 1.0])
    return randomised(Convert(space).convert(randomised(Residual(norm))))


SMALL = {
    "stem": {"expand_ratio": 0.5, "kernel_size": 3},
    "expand": {"expand_ratio": 0.5},
    "depthwise": {"kernel_size": 3},
    "grouped": {"expand_ratio": 0.5, "kernel_size": 5},
    "up": {"expand_ratio": 0.5, "kernel_size": 3},
}


def by_hand(model, x, stem, expand, grouped, up, kernels, train):
    """Cut ``Residual`` in NumPy and run it; ``kernels`` by layer, the others are at 5."""
    w = original_weights(model)

    def kernel(name):
        weight, size = w[f"{name}.weight"], kernels.get(name, 5)
        if size == 5:
            return weight
        centre = weight[:, :, 1:4, 1:4]
        return (centre.reshape(*centre.shape[:2], 9) @ w[f"{name}.5to3_matrix"]).reshape(
            centre.shape
        )

    def padding(name, at_three):
        return at_three + (kernels.get(name, 5) - 3) // 2

    x = conv(x, kernel("stem")[:stem], w["stem.bias"][:stem], padding=padding("stem", 1))
    mean, variance = (
        (x.mean((0, 2, 3)), x.var((0, 2, 3)))
        if train
        else (w["norm._mean"][:stem], w["norm._variance"][:stem])
    )
    x = (x - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-5)
    x = x * w["norm.weight"][:stem, None, None] + w["norm.bias"][:stem, None, None]
    x = np.maximum(x, 0)
    y = conv(x, w["expand.weight"][:expand, :stem], None)
    depthwise = {"padding": padding("depthwise", 1), "groups": expand}
    y = conv(y, kernel("depthwise")[:expand], w["depthwise.bias"][:expand], **depthwise)
    y = conv(np.maximum(y, 0), w["project.weight"][:stem, :expand], w["project.bias"][:stem])
    per_group = kernel("grouped")[:grouped, : stem // 4]
    settings = {"padding": padding("grouped", 0), "stride": 2, "groups": 4}
    x = conv(x + y, per_group, w["grouped.bias"][:grouped], **settings)
    spread = kernel("up")[:grouped, :up]
    x = conv_transpose(x, spread, w["up.bias"][:up], padding=padding("up", 0))
    x = (x - x.mean((2, 3), keepdims=True)) / np.sqrt(x.var((2, 3), keepdims=True) + 1e-5)
    x = x * w["instance.scale"][:up, None, None] + w["instance.bias"][:up, None, None]
    return x.mean((2, 3)) @ w["head.weight"][:up] + w["head.bias"]
