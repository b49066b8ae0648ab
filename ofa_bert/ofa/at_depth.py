"""An exported network at the depth that was chosen for it."""

from __future__ import annotations

import inspect
import sys
from types import MethodType
from typing import Any

from paddle import nn

from ofa_bert.ofa.choices import DEPTH


class _Forward:
    """A forward that takes what the network's own does but the depth, by the same names.

    Paddle saves no other (``paddle.jit.save``), and they differ from network to network. It is made
    when it is read: kept by the layer, it would keep the layer.
    """

    def __get__(self, layer: AtDepth | None, owner: type) -> Any:
        if layer is None:
            return self

        def forward(self: AtDepth, *inputs: Any, **named: Any) -> Any:
            before, after = inputs[: self._place], inputs[self._place :]
            if after:
                return self.model(*before, self.depth, *after, **named)
            return self.model(*before, depth=self.depth, **named)

        taken = inspect.signature(layer.model.forward).parameters
        others = [parameter for name, parameter in taken.items() if name != DEPTH]
        itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        forward.__signature__ = inspect.Signature([itself, *others])  # type: ignore[attr-defined]
        return MethodType(forward, layer)


class AtDepth(nn.Layer):
    """A network whose forward takes ``depth``, at one depth.

    Args:
        model: the network.
        depth: what it gets.
    """

    def __init__(self, model: nn.Layer, depth: Any) -> None:
        super().__init__()
        self.model = model
        self.depth = depth
        self.training = model.training
        taken = inspect.signature(model.forward).parameters
        by_place = DEPTH in taken and taken[DEPTH].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        self._place = list(taken).index(DEPTH) if by_place else sys.maxsize

    forward = _Forward()
