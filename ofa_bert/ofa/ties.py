"""Collecting the choices of a converted network, and tying those that depend on each other."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

from paddle import nn

from ofa_bert.errors import InputError, nearest
from ofa_bert.ofa.choices import SearchSpace, follows_input, plain_number, width_key
from ofa_bert.ofa.layers_base import Block
from ofa_bert.ofa.super_attention import SuperMultiHeadAttention
from ofa_bert.ofa.widths import Candidates
from ofa_bert.rules import require


def space_of(
    model: nn.Layer,
    depths: Iterable[Any] | None = None,
    overrides: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
    skipped: Iterable[str] = (),
) -> SearchSpace:
    """Collect the choices of a converted network.

    Args:
        model: the network.
        depths: choices of its ``depth`` argument.
        overrides: choices of layers, instead of those they have.
        skipped: layers without a choice.

    Raises:
        InputError: if a layer is unknown, or an override is not within what the layer has.
    """
    blocks = {
        name: layer
        for name, layer in model.named_sublayers()
        if isinstance(layer, Block) and not layer.fixed
    }
    choices = {name: block.candidate_config for name, block in blocks.items()}
    choices = {name: candidates for name, candidates in choices.items() if candidates}
    for name, own in (overrides or {}).items():
        if name not in choices:
            raise InputError(f"ofa_layers: no elastic layer {name!r}; {nearest(name, choices)}")
        choices[name] = _narrowed(name, choices[name], own)
    for name in skipped:
        if name not in blocks:
            raise InputError(f"skip_layers: no elastic layer {name!r}; {nearest(name, choices)}")
    space = SearchSpace(
        blocks=blocks,
        choices=choices,
        depths=tuple(sorted({plain_number(depth) for depth in depths or ()})),
        skipped=frozenset(skipped),
        names_by_key={block.key: name for name, block in blocks.items()},
    )
    return tie(space, attention_groups(model), frozenset())


def tie(space: SearchSpace, groups: Iterable[Iterable[str]], fixed: Iterable[str]) -> SearchSpace:
    """Give a space whose layers are tied and fixed as said, besides how they are already.

    Groups with a layer in common are one. A group with a layer that cannot change is fixed; any
    other one has the widths that all of its layers have.

    Raises:
        InputError: if they have none in common.
    """
    merged: list[set[str]] = []
    for group in (*space.groups, *groups):
        joined = set(group)
        apart = [other for other in merged if not other & joined]
        for other in merged:
            joined |= other if other & joined else set()
        merged = [*apart, joined]
    firm = set(space.fixed) | set(fixed) | set(space.skipped)
    for group in merged:
        if any(name in firm or _has_one_width(space, name) for name in group):
            firm |= group
    joined_layers = tuple(frozenset(group) for group in merged)
    choices = dict(space.choices)
    for group in joined_layers:
        if group.isdisjoint(firm):
            choices |= _with_common_widths(choices, group)
    return replace(space, choices=choices, groups=joined_layers, fixed=frozenset(firm))


def attention_groups(model: nn.Layer) -> list[set[str]]:
    """Tie the projections of each attention layer that make its heads."""
    return [
        {f"{name}.{projection}" for projection in ("q_proj", "k_proj", "v_proj")}
        for name, layer in model.named_sublayers()
        if isinstance(layer, SuperMultiHeadAttention)
    ]


def _with_common_widths(
    choices: Mapping[str, Candidates], group: frozenset[str]
) -> dict[str, Candidates]:
    """Leave the layers of a group that choose their width the widths that all of them have."""
    keys = {name: key for name in choices if name in group if (key := width_key(choices[name]))}
    if not keys:
        return {}
    first, first_key = next(iter(keys.items()))
    common = choices[first][first_key]
    for name, key in keys.items():
        own = choices[name][key]
        shared = [width for width in common if key == first_key and width in own]
        require(
            bool(shared),
            f"{first} and {name} must have one width, they are joined in the network; "
            f"{first} may have {first_key} {common}, {name} {key} {own}; give both the same in "
            "ofa_layers",
        )
        common = shared
    return {name: {**choices[name], key: list(common)} for name, key in keys.items()}


def _has_one_width(space: SearchSpace, name: str) -> bool:
    """Tell a layer that has a width of its own but no choice of it, such as a fixed block's."""
    if name not in space.blocks:
        return True
    layer = space.blocks[name].fn
    return not follows_input(layer) and width_key(space.choices.get(name, {})) is None


def _narrowed(name: str, candidates: Candidates, own: Mapping[str, Sequence[Any]]) -> Candidates:
    """Take a layer's choices from the user, each within what the layer has."""
    narrowed = copy.deepcopy(candidates)
    for key, values in own.items():
        if key not in candidates:
            raise InputError(f"ofa_layers: layer {name} has no {key!r}; {nearest(key, candidates)}")
        numbers = all(isinstance(value, Real) for value in values)
        require(
            numbers and len(values) > 0 and max(values) <= candidates[key][-1] and min(values) > 0,
            f"ofa_layers: {key} of {name} must be above 0 and at most {candidates[key][-1]}; "
            f"got {list(values)}",
        )
        if key == "kernel_size":
            require(
                set(values) <= set(candidates[key]),
                f"ofa_layers: kernel_size of {name} must be of {candidates[key]}; "
                f"got {list(values)}",
            )
        narrowed[key] = sorted(set(values))
    return narrowed
