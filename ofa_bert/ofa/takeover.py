"""One layer in the place of another of its kind, with the same parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

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
    """Put layers in the places of others, given by their ids, wherever a parent holds them."""
    for parent in parents:
        for name, child in list(parent._sub_layers.items()):
            if id(child) in replacements:
                setattr(parent, name, replacements[id(child)])
