"""The lists, tuples, dicts and sets that a network keeps on its layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from paddle import nn

PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
"""Types of what holds nothing."""


def containers(roots: Iterable[Any]) -> Iterator[Any]:
    """Give the containers below some values, each once, those that are within one before it.

    A layer's attributes are such a dict; what other objects hold is not looked at.
    """
    were_searched: dict[int, bool] = {}  # by id; False: what is within still waits
    waiting = list(roots)
    while waiting:
        found = waiting.pop()
        holder = vars(found) if isinstance(found, nn.Layer) else found
        if not isinstance(holder, dict | list | set | tuple):
            continue
        was_searched = were_searched.get(id(holder))
        if was_searched is None and not PLAIN.issuperset(map(type, items_of(holder))):
            were_searched[id(holder)] = False
            waiting.append(holder)
            waiting += [item for item in items_of(holder) if type(item) not in PLAIN]
        elif not was_searched:
            were_searched[id(holder)] = True
            yield holder


def items_of(holder: Any) -> Collection[Any]:
    """Give what a container holds; of a dict, its values."""
    return holder.values() if isinstance(holder, dict) else holder
