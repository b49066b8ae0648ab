"""One layer in the place of another of its kind, with the same parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from paddle import nn

L = TypeVar("L", bound=nn.Layer)


def take_over(layer: nn.Layer, cls: type[L]) -> L:
    """Make a layer of ``cls``, a sub- or superclass of ``layer``'s, that is ``layer`` otherwise.

    It has the very same parameters, hooks, mode and settings. Building it anew would draw weights
    that are thrown away, break ties between layers, orphan an optimiser's state, and need every
    setting that some version of paddle gives the layer.
    """
    taken: L = object.__new__(cls)
    taken.__dict__.update(layer.__dict__)
    taken.__dict__["_parameters"] = layer._parameters.copy()
    taken.__dict__["_sub_layers"] = layer._sub_layers.copy()
    return taken


def replace_sublayers(parents: Iterable[nn.Layer], replacements: Mapping[int, nn.Layer]) -> None:
    """Put layers in the places of others, given by their ids, wherever a parent holds them.

    That is among its sublayers, and in its attributes: a forward may as well run what the author
    put into a list beside ``add_sublayer``.
    """
    for parent in parents:
        for name, held in list(vars(parent).items()):
            vars(parent)[name] = _replaced(held, replacements)


def _replaced(held: Any, replacements: Mapping[int, nn.Layer]) -> Any:
    """Give what stands for a value; lists and dicts are changed in place, tuples made anew."""
    if id(held) in replacements:
        return replacements[id(held)]
    if isinstance(held, dict | list):
        for key, item in list(held.items() if isinstance(held, dict) else enumerate(held)):
            new = _replaced(item, replacements)
            if new is not item:
                held[key] = new
    elif type(held) is tuple:
        new_items = [_replaced(item, replacements) for item in held]
        if any(new is not item for new, item in zip(new_items, held, strict=True)):
            return tuple(new_items)
    return held
