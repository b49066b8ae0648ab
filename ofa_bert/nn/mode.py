"""A network in eval mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from paddle import nn


@contextmanager
def evaluating(model: nn.Layer) -> Iterator[None]:
    """Put a network in eval mode, and each of its layers back in the mode it was in."""
    training = [layer for layer in (model, *model.sublayers()) if layer.training]
    model.eval()
    try:
        yield
    finally:
        for layer in training:
            layer.training = True
