"""An exported network at the depth that was chosen for it."""

from __future__ import annotations

import inspect
import sys
from types import FunctionType, MethodType
from typing import Any

from paddle import nn

from ofa_bert.ofa.choices import DEPTH


class AtDepth(nn.Layer):
    """A network whose forward takes ``depth``, at one depth.

    Its own forward takes what the network's does but the depth, by the same names, which
    ``paddle.jit.save`` asks for.

    Args:
        model: the network.
        depth: what it gets.
    """

    def __init__(self, model: nn.Layer, depth: Any) -> None:
        super().__init__()
        self.model = model
        self.depth = depth
        taken = inspect.signature(model.forward).parameters
        by_place = DEPTH in taken and taken[DEPTH].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        self._place = list(taken).index(DEPTH) if by_place else sys.maxsize
        own = inspect.signature(AtDepth.forward).parameters
        names = [own["self"], *(p for name, p in taken.items() if name != DEPTH)]
        # A function of this object's own, for each network takes other names.
        forward = FunctionType(AtDepth.forward.__code__, globals(), "forward")
        forward.__signature__ = inspect.Signature(names)  # type: ignore[attr-defined]
        self.forward = MethodType(forward, self)  # type: ignore[method-assign]

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Run the network at its depth."""
        before, after = inputs[: self._place], inputs[self._place :]
        if after:
            return self.model(*before, self.depth, *after, **kwargs)
        return self.model(*before, depth=self.depth, **kwargs)
