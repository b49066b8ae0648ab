"""For old scripts only: masks handed over as ``[attention_mask, head_mask]``."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

import paddle
from paddle import nn

from ofa_bert.ofa.active import running
from ofa_bert.ofa.super_attention import SuperMultiHeadAttention
from ofa_bert.ofa.transformer import attentions
from ofa_bert.rules import require


class MaskLists:
    """While enabled, encoders and paddlenlp's BERT take ``[attention_mask, head_mask]``.

    Also a context manager. ``disable`` puts back what was there, and may be called again.
    """

    def __init__(self) -> None:
        self._replaced: list[tuple[type[nn.Layer], Callable[..., Any]]] = []

    def enable(self) -> MaskLists:
        """Start taking lists."""
        if not self._replaced:
            self._replace(nn.TransformerEncoder, "src_mask", 1)
            # Whoever runs paddlenlp's BERT has imported it; nobody else should wait for that.
            if "paddlenlp.transformers" in sys.modules:
                self._replace(sys.modules["paddlenlp.transformers"].BertModel, "attention_mask", 3)
        return self

    def disable(self) -> None:
        """Stop taking them."""
        while self._replaced:
            cls, forward = self._replaced.pop()
            cls.forward = forward

    def __enter__(self) -> MaskLists:
        return self.enable()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.disable()

    def _replace(self, cls: type[nn.Layer], name: str, place: int) -> None:
        forward = cls.forward
        self._replaced.append((cls, forward))
        cls.forward = _taking_lists(forward, name, place)


def enable_mask_lists() -> MaskLists:
    """Let encoders and paddlenlp's BERT take ``[attention_mask, head_mask]``, until disabled.

    This replaces their ``forward`` by one that unpacks the list, paddlenlp's if it is imported. It
    is the only place of this package that replaces anything for longer than a trace, and only when
    called. The head mask, ``[num_layers, num_heads]`` or ``[num_heads]``, reaches the attention of
    converted networks.

    Returns:
        What disables it again: ``lists.disable()``, or the end of ``with enable_mask_lists():``.
    """
    return MaskLists().enable()


def _taking_lists(forward: Callable[..., Any], name: str, place: int) -> Callable[..., Any]:
    """Wrap a forward whose mask is called ``name`` or stands at ``place`` after ``self``."""

    @functools.wraps(forward)
    def unpacking(self: nn.Layer, *args: Any, **kwargs: Any) -> Any:
        mask = kwargs.get(name, args[place] if len(args) > place else None)
        if not isinstance(mask, list | tuple):
            return forward(self, *args, **kwargs)
        require(
            len(mask) == 2,
            f"{name} must be a tensor or [mask, head_mask]; got a list of {len(mask)}",
        )
        args = (*args[:place], mask[0], *args[place + 1 :]) if len(args) > place else args
        kwargs = {**kwargs, name: mask[0]} if name in kwargs else kwargs
        with running(head_masks=None if mask[1] is None else head_masks(self, mask[1])):
            return forward(self, *args, **kwargs)

    # paddlenlp looks at the arguments of what is put in the place of its functions.
    unpacking.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    return unpacking


def head_masks(model: nn.Layer, mask: paddle.Tensor) -> dict[nn.Layer, paddle.Tensor]:
    """Give each attention layer of a converted network its row of a head mask.

    Args:
        model: the network.
        mask: ``[num_layers, num_heads]``, or ``[num_heads]`` for all layers.

    Raises:
        InputError: if the network is not converted, or has another number of layers.
    """
    layers = attentions(model)
    require(
        all(isinstance(layer, SuperMultiHeadAttention) for layer in layers),
        "a head mask needs a converted network; use Convert(supernet(expand_ratio=[1.0]))",
    )
    rows = [mask] * len(layers) if mask.ndim == 1 else list(mask)
    require(
        len(rows) == len(layers),
        f"head_mask must have a row for each of the {len(layers)} layers; got {list(mask.shape)}",
    )
    return dict(zip(layers, rows, strict=True))
