"""Dropout with a generator of its own, fast on the CPU and repeatable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from ofa_bert.nn.placement import trains_on_cpu

STEPS = 1 << 16
"""Values of the 16 random bits that decide one number: the rate is rounded to 1 / STEPS."""


class Dropout(nn.Layer):
    """Zero each number with probability ``rate`` in training, and scale up the others.

    On the CPU the random bits come from NumPy's SFC64, because paddle draws them with one thread,
    at several times the cost of the product they follow. ``reseed`` sets them.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.generator = np.random.Generator(np.random.SFC64(0))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Drop numbers of ``x``, any shape."""
        if not self.training or self.rate == 0.0:
            return x
        if trains_on_cpu(x):
            return x * paddle.to_tensor(keep_mask(self.generator, x.shape, self.rate))
        return F.dropout(x, self.rate)


def keep_mask(generator: np.random.Generator, shape: list[int], rate: float) -> np.ndarray:
    """Draw what dropout multiplies by: 0, or the factor that keeps the mean.

    Returns:
        float32 of ``shape``.
    """
    count = int(np.prod(shape))
    # Drawn 64 at a time: twice as fast as ``generator.bytes``.
    words = generator.integers(0, 1 << 64, size=-(-count // 4), dtype=np.uint64)
    bits = words.view(np.uint16)[:count]
    dropped = round(rate * STEPS)
    factor = np.float32(STEPS / (STEPS - dropped)) if dropped < STEPS else np.float32(0.0)
    return np.multiply(bits >= dropped, factor, dtype=np.float32).reshape(shape)


def reseed(model: nn.Layer, seed: int) -> None:
    """Set what every dropout of a model draws next, each differently, from ``seed`` alone."""
    paddle.seed(seed)
    for number, layer in enumerate(_dropouts(model)):
        layer.generator = np.random.Generator(np.random.SFC64([seed, number]))


@contextmanager
def dropping(model: nn.Layer, rate: float | None) -> Iterator[None]:
    """Give every dropout of a model one rate for a while; None: each has its own.

    The model's configuration stays, and with it what a later training of its sub-models finds.
    """
    own = [(layer, layer.rate) for layer in _dropouts(model)]
    try:
        for layer, before in own:
            layer.rate = before if rate is None else rate
        yield
    finally:
        for layer, before in own:
            layer.rate = before


def _dropouts(model: nn.Layer) -> list[Dropout]:
    return [layer for layer in model.sublayers() if isinstance(layer, Dropout)]
