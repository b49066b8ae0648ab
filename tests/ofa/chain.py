"""A chain of linear layers, what is set of it, and what it computes then, in NumPy."""

from __future__ import annotations

import numpy as np

from ofa_bert.ofa import OFA, Convert, DistillConfig, RunConfig, supernet
from tests.ofa.oracles import original_weights
from tests.ofa.values import draw, randomised
from tests.tiny import paddle

nn = paddle.nn
UNTIED = RunConfig(same_search_space=[])
X = paddle.to_tensor(draw(3, 4))


class Chain(nn.Layer):
    """Three linear layers, of which ``depth`` says how many of the middle ones run."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.first = nn.Linear(4, width)
        self.middle = nn.LayerList([nn.Linear(width, width) for _ in range(3)])
        self.last = nn.Linear(width, 2)

    def forward(self, x, depth=None):
        x = paddle.tanh(self.first(x))
        for layer in self.middle[:depth]:
            x = paddle.tanh(layer(x))
        return self.last(x)


def chain(seed_of=Chain, **space):
    space = space or {"expand_ratio": [0.5, 1.0]}
    return Convert(supernet(**space)).convert(randomised(seed_of()))


def by_hand(model, x, widths, depth=3):
    """Cut the weights in NumPy; ``widths`` are those after the first and each middle layer."""
    w = original_weights(model)
    names = ["first", *(f"middle.{i}" for i in range(depth))]
    for name, width in zip(names, widths, strict=True):
        x = np.tanh(x @ w[f"{name}.weight"][: x.shape[-1], :width] + w[f"{name}.bias"][:width])
    return x @ w["last.weight"][: x.shape[-1]] + w["last.bias"]


CONFIG = {
    "first": {"expand_ratio": 0.5},
    "middle.0": {"expand_ratio": 1.0},
    "middle.1": {"expand_ratio": 0.67},  # 4.02 of 6
    "middle.2": {"expand_ratio": 0.5},
}
WIDTHS = [3, 6, 4, 3]


def distilled(**settings):
    """Give an OFA of a chain, and the chain of another first bias that teaches it."""
    teacher = randomised(Chain())
    teacher.first.bias.set_value(draw(6, seed=5))
    config = DistillConfig(teacher_model=teacher, mapping_layers=["middle.1", "first"], **settings)
    return OFA(chain(), UNTIED, config), teacher
