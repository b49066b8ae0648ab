"""One layer in the place of another of its kind, with the same parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from paddle import nn

from ofa_bert.ofa.containers import containers, items_of

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
    put into a list beside ``add_sublayer``. Lists and dicts are changed in place, tuples made anew.
    """
    found = list(containers(parents))  # all of them, before any is changed
    new: dict[int, Any] = dict(replacements)
    for holder in found:
        if type(holder) is tuple and not new.keys().isdisjoint(map(id, holder)):
            new[id(holder)] = tuple(new.get(id(item), item) for item in holder)
    for holder in found:
        if not isinstance(holder, dict | list) or new.keys().isdisjoint(map(id, items_of(holder))):
            continue
        for key, item in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            if id(item) in new:
                holder[key] = new[id(item)]
