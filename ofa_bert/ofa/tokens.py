"""Configurations as lists of numbers, for searches from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ofa_bert.ofa.choices import DEPTH, Config
from ofa_bert.ofa.schedule import KEYS_OF_TASK, Stage
from ofa_bert.rules import require


@dataclass(frozen=True)
class Tokens:
    """What each number of a list stands for."""

    token_map: dict[str, dict[str, dict[int, Any]]]
    """``{kind: {layer: {number: value}}}``: a value's number is its place among all of its kind."""
    search_cands: list[list[int]]
    """For each place of a list, the numbers it may hold."""


def tokens_of(free: Mapping[str, Any], stage: Stage) -> Tokens:
    """Number the choices of the tasks that are open, one place for each layer's choice."""
    by_layer = {
        name: {DEPTH: choices} if name == DEPTH else choices for name, choices in free.items()
    }
    token_map: dict[str, dict[str, dict[int, Any]]] = {}
    for key in (key for task in stage.tasks for key in KEYS_OF_TASK[task]):
        layers = {name: keys[key] for name, keys in by_layer.items() if key in keys}
        every = sorted({value for values in layers.values() for value in values})
        if layers:
            token_map[key] = {
                name: {every.index(value): value for value in values}
                for name, values in layers.items()
            }
    places = [list(numbers) for layers in token_map.values() for numbers in layers.values()]
    return Tokens(token_map, places)


def decode(tokens: Tokens, token: Sequence[int]) -> Config:
    """Give the configuration that a list of numbers stands for; what has no place is left out.

    Raises:
        InputError: if it is not as ``tokens.search_cands`` says.
    """
    places = tokens.search_cands
    require(isinstance(token, Iterable), f"a token must be a list of numbers; got {token!r}")
    token = list(token)
    fits = len(token) == len(places) and all(
        number in allowed for number, allowed in zip(token, places, strict=True)
    )
    require(
        bool(places) and fits,
        f"a token must hold one number of each of search_cands; got {list(token)}; "
        f"{f'search_cands is {places}' if places else 'call tokenize first'}",
    )
    config: Config = {}
    numbers = iter(token)
    for key, layers in tokens.token_map.items():
        for name, values in layers.items():
            value = values[next(numbers)]
            if name == DEPTH:
                config[DEPTH] = value
            else:
                config.setdefault(name, {})[key] = value
    return config
