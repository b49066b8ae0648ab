"""The configuration that a network runs with: which arguments its elastic layers get.

A converted network is its author's code, which cannot pass sizes on to the layers inside. So sizes
are an argument of the whole run: they hold while ``running`` is entered, in this thread (or task)
alone, and are gone when it ends. Two owners of one network, or two threads, see only their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import paddle
from paddle import nn

Sizes = Mapping[str, Any]
"""Arguments of one elastic layer, e.g. ``{"expand_ratio": 0.5, "kernel_size": 3}``."""


@dataclass(frozen=True)
class Run:
    """What holds while a network runs."""

    sizes: Mapping[nn.Layer, Sizes] = field(default_factory=dict)
    """Arguments by the ``Block`` that takes them; a block without is at full size."""
    head_masks: Mapping[nn.Layer, paddle.Tensor] = field(default_factory=dict)
    """``[num_heads]`` by attention layer; multiplies the attention probabilities of each head."""


FULL_SIZE = Run()
_RUN: ContextVar[Run | None] = ContextVar("ofa_run", default=None)


@contextmanager
def running(
    sizes: Mapping[nn.Layer, Sizes] | None = None,
    head_masks: Mapping[nn.Layer, paddle.Tensor] | None = None,
) -> Iterator[None]:
    """Run whatever is called inside with these arguments; those not given stay as they are."""
    outer = _RUN.get() or FULL_SIZE
    token = _RUN.set(
        Run(
            outer.sizes if sizes is None else sizes,
            outer.head_masks if head_masks is None else head_masks,
        )
    )
    try:
        yield
    finally:
        _RUN.reset(token)


def sizes_of(block: nn.Layer) -> Sizes:
    """Give the arguments that hold for a block now."""
    return (_RUN.get() or FULL_SIZE).sizes.get(block, {})


def head_mask_of(attention: nn.Layer) -> paddle.Tensor | None:
    """Give the head mask that holds for an attention layer now."""
    return (_RUN.get() or FULL_SIZE).head_masks.get(attention)
