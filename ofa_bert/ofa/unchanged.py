"""Putting a network back as it was, whatever its forward keeps on its layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import is_
from typing import Any

import paddle
from paddle import nn


@contextmanager
def unchanged(model: nn.Layer) -> Iterator[None]:
    """Give every layer back the attributes, parameters and buffers that it has now.

    A forward may cache what it computes, such as a table of positions. A symbolic tensor that was
    left there would end the next forward, and with it the process. Lists, dicts and sets are kept
    too, however deep; what other objects hold is not.
    """
    kept = [(holder, _contents(holder)) for holder in _holders(model)]
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


def _holders(model: nn.Layer) -> Iterator[Any]:
    """Give what can be written into, each once: the layers' attributes, and containers there."""
    seen: set[int] = set()
    waiting: list[Any] = [model]
    while waiting:
        found = waiting.pop()
        holder = vars(found) if isinstance(found, nn.Layer) else found
        if isinstance(holder, dict | list | set | tuple) and id(holder) not in seen:
            seen.add(id(holder))
            waiting += holder.values() if isinstance(holder, dict) else holder
            if not isinstance(holder, tuple):
                yield holder


def _contents(holder: Any) -> list[Any]:
    """List what a container holds; of a dict, keys and values in turn."""
    if isinstance(holder, dict):
        return [part for item in holder.items() for part in item]
    return list(holder)


def _refill(holder: Any, contents: list[Any]) -> None:
    """Give a container what it held, unless it still does."""
    now = _contents(holder)
    if len(now) == len(contents) and all(map(is_, now, contents)):
        return
    holder.clear()
    if isinstance(holder, list):
        holder.extend(contents)
    else:
        is_dict = isinstance(holder, dict)
        holder.update(zip(contents[::2], contents[1::2], strict=True) if is_dict else contents)
