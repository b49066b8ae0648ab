"""``Block``: where the arguments of one elastic layer come in."""

from __future__ import annotations

import copy
from typing import Any

from paddle import nn

from ofa_bert.ofa.active import sizes_of
from ofa_bert.ofa.widths import WIDTH_KEYS, Candidates

TENSOR_NAMES = ("x", "input")
"""What paddle's layers call the tensor that they take."""


class BaseBlock(nn.Layer):
    """A layer with choices, and a key that names it."""

    def __init__(self, key: str | None = None) -> None:
        super().__init__()
        self._key = key

    @property
    def key(self) -> str:
        """Name of the layer that was converted, e.g. ``linear_12``; else this layer's own."""
        return self._key or str(self.full_name())


class Block(BaseBlock):
    """One elastic layer in a network.

    Its arguments are those it is called with, then those of the active configuration, then none:
    full size.

    Args:
        fn: an elastic layer, e.g. ``SuperConv2D(3, 5, 3)``.
        fixed: leave it out of the search space: only the call's own arguments count.
        key: name of the layer in ``OFA.layers``.
    """

    def __init__(self, fn: nn.Layer, fixed: bool = False, key: str | None = None) -> None:
        super().__init__(key)
        self.fn = fn
        self.fixed = fixed

    @property
    def candidate_config(self) -> Candidates:
        """The layer's choices; a copy."""
        return copy.deepcopy(self.fn.candidate_config)

    def forward(self, *inputs: Any, **sizes: Any) -> Any:
        """Run the layer; its tensor may come by paddle's name of it."""
        if not inputs:
            inputs = tuple(sizes.pop(name) for name in TENSOR_NAMES if name in sizes)
        if not self.fixed:
            active = dict(sizes_of(self))
            if any(key in sizes for key in WIDTH_KEYS):
                active = {key: size for key, size in active.items() if key not in WIDTH_KEYS}
            sizes = {**active, **sizes}
        return self.fn(*inputs, **sizes)

    def __getattr__(self, name: str) -> Any:
        """Show what the wrapped layer has: networks read ``self.dense.weight.dtype`` and such."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "fn":
                raise
            return getattr(self.fn, name)
