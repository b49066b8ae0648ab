"""Putting a network back as it was, whatever its forward keeps on its layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from operator import is_
from typing import Any

import paddle
from paddle import nn

from ofa_bert.ofa.containers import containers


@contextmanager
def unchanged(model: nn.Layer) -> Iterator[None]:
    """Give every layer back the attributes, parameters and buffers that it has now.

    A forward may cache what it computes, such as a table of positions. A symbolic tensor that was
    left there would end the next forward, and with it the process. Lists, dicts and sets are kept
    too, however deep; what other objects hold is not.
    """
    found = (holder for holder in containers([model]) if not isinstance(holder, tuple))
    kept = [(holder, _contents(holder)) for holder in found]
    try:
        yield
    finally:
        for holder, contents in kept:
            _refill(holder, contents)


def show_kept_tensors(model: nn.Layer) -> None:
    """Make buffers of tensors that are mere attributes of layers, left there by earlier forwards.

    Paddle makes a symbolic value of a buffer when it is read, and of no other tensor.
    """
    for layer in model.sublayers(include_self=True):
        for name, value in list(vars(layer).items()):
            if isinstance(value, paddle.Tensor):
                layer._buffers[name] = vars(layer).pop(name)


def _contents(holder: Any) -> Any:
    """Copy what a container holds, in its order."""
    return dict(holder) if isinstance(holder, dict) else tuple(holder)


def _refill(holder: Any, contents: Any) -> None:
    """Give a container what it held, unless it still does."""
    if len(holder) == len(contents) and all(map(is_, _parts(holder), _parts(contents))):
        return
    holder.clear()
    if isinstance(holder, dict):
        for key, value in contents.items():  # ``update`` of a Counter counts
            holder[key] = value
    else:
        (holder.extend if isinstance(holder, list) else holder.update)(contents)


def _parts(holder: Any) -> Iterator[Any]:
    return chain(holder, holder.values()) if isinstance(holder, dict) else iter(holder)
