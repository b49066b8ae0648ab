"""The search space of a converted network: which layers may change, and which change together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paddle import nn

from ofa_bert.errors import InputError, nearest
from ofa_bert.ofa.layers_base import Block
from ofa_bert.ofa.plan import out_width
from ofa_bert.ofa.super_conv import is_depthwise
from ofa_bert.ofa.widths import WIDTH_KEYS, Candidates, out_count
from ofa_bert.rules import require

Config = dict[str, Any]
"""``{layer: {"expand_ratio" | "channel" | "kernel_size": value}, "depth": value}``."""

DEPTH = "depth"


@dataclass(frozen=True)
class SearchSpace:
    """The choices of a network's layers, by the names of ``named_sublayers``."""

    blocks: dict[str, Block]
    """Every ``Block`` that is not fixed."""
    choices: dict[str, Candidates]
    """Choices of those that have any; of those tied, the same widths."""
    depths: tuple[Any, ...] = ()
    """Choices of the network's ``depth`` argument, ascending; empty: none."""
    groups: tuple[frozenset[str], ...] = ()
    """Layers of one width; disjoint."""
    fixed: frozenset[str] = frozenset()
    """Layers at full width; with one of a group, all of it."""
    skipped: frozenset[str] = frozenset()
    """Layers without any choice."""
    names_by_key: Mapping[str, str] = field(default_factory=dict)
    """Name by ``Block.key``."""

    def free(self) -> dict[str, Any]:
        """Give the choices that are made independently of each other; a fresh copy.

        Of layers of one width the first that has a width of its own has the choice.
        """
        free: dict[str, Any] = {}
        for name, candidates in self.choices.items():
            own = {
                key: list(values)
                for key, values in candidates.items()
                if key not in WIDTH_KEYS or self._leads(name)
            }
            if own and name not in self.skipped:
                free[name] = own
        if self.depths:
            free[DEPTH] = list(self.depths)
        return free

    def complete(self, config: Mapping[str, Any]) -> Config:
        """Check a configuration, and give it with a value for every choice of every layer.

        A width that is not given is that of a layer it is tied to, else the largest of its choices,
        as a kernel and a depth are; a layer that is fixed or skipped is whole.

        Raises:
            InputError: if a layer, key or value is not of this space, or tied layers differ.
        """
        given = self._checked(config)
        full: Config = {}
        for name, candidates in self.choices.items():
            full[name] = {
                key: given.get(name, {}).get(key, self._default(name, key)) for key in candidates
            }
        for group in self.groups:
            self._agree(group, given, full)
        if self.depths:
            full[DEPTH] = given.get(DEPTH, self.depths[-1])
        return full

    def sizes(self, config: Config) -> dict[nn.Layer, dict[str, Any]]:
        """Give the arguments of each block at a complete configuration.

        Layers tied to a grouped convolution get a number of channels instead of a ratio, since the
        groups' multiple of it must be the number of all.
        """
        sizes = {name: own for name, own in config.items() if name != DEPTH}
        for group in self.groups:
            members = [name for name in sizes if name in group]
            multiple = math.lcm(*(groups_of(self.blocks[name].fn) for name in members))
            for name in members if multiple > 1 else ():
                sizes[name] = self._in_channels(name, sizes[name], multiple)
        return {self.blocks[name]: own for name, own in sizes.items()}

    def narrows(self, config: Config) -> bool:
        """Tell whether any layer has less than its full width at a complete configuration."""
        return any(
            key in WIDTH_KEYS and size != self._largest(name, key)
            for name, own in config.items()
            if name != DEPTH
            for key, size in own.items()
        )

    def has_widths(self) -> bool:
        """Tell whether any layer has a choice of its width."""
        return any(
            width_key(self.choices[name]) for name in self.choices if name not in self.skipped
        )

    def _in_channels(self, name: str, sizes: dict[str, Any], multiple: int) -> dict[str, Any]:
        """Turn a layer's ratio into channels, a multiple of so many."""
        if "expand_ratio" not in sizes:
            return sizes
        layer = self.blocks[name].fn
        kept = dict(sizes)
        ratio = kept.pop("expand_ratio")
        total = out_width(layer)
        kept["channel"] = out_count(total, layer.candidate_config, ratio, None, multiple)
        return kept

    def _largest(self, name: str, key: str) -> Any:
        """Give what is the whole layer, whatever choices the user left it."""
        return self.blocks[name].fn.candidate_config[key][-1]

    def _default(self, name: str, key: str) -> Any:
        """Give the value of a choice that is not made."""
        whole = name in self.skipped or (name in self.fixed and key in WIDTH_KEYS)
        return self._largest(name, key) if whole else self.choices[name][key][-1]

    def _leads(self, name: str) -> bool:
        """Tell whether a layer chooses its width: for itself, or as the first such of its group."""
        if name in self.fixed:
            return False
        for group in self.groups:
            if name in group:
                wide = (n for n, own in self.choices.items() if n in group and width_key(own))
                return name == next(wide, None)
        return True

    def _agree(self, group: frozenset[str], given: Config, full: Config) -> None:
        """Give every layer of a group the width that one of them was given."""
        members = [name for name in self.choices if name in group and width_key(self.choices[name])]
        chosen = {
            name: size
            for name in self.blocks
            if name in group
            for key, size in given.get(name, {}).items()
            if key in WIDTH_KEYS
        }
        if len(set(chosen.values())) > 1:
            (one, width), (other, different) = _two_that_differ(chosen)
            raise InputError(
                f"{one} and {other} must have one width, they are joined in the network; "
                f"got {width} and {different}; give both the same, or only one of them"
            )
        for name in members if chosen else ():
            key, width = width_key(self.choices[name]), next(iter(chosen.values()))
            full[name][key] = self._checked_size(name, str(key), width)

    def _checked(self, config: Mapping[str, Any]) -> Config:
        """Copy a configuration, with names for keys and plain numbers for numpy's."""
        require(
            isinstance(config, Mapping),
            f"a configuration must be a dict of layers; got {config!r}",
        )
        checked: Config = {}
        for given_name, sizes in config.items():
            name = self.names_by_key.get(given_name, given_name)
            if name == DEPTH:
                checked[DEPTH] = self._checked_depth(sizes)
                continue
            if name not in self.blocks:
                known = [*self.choices, *([DEPTH] if self.depths else [])]
                raise InputError(
                    f"no elastic layer {given_name!r}; {nearest(str(given_name), known)}"
                )
            require(
                isinstance(sizes, Mapping),
                f"{name} must have a dict such as {{'expand_ratio': 0.5}}; got {sizes!r}",
            )
            checked[name] = {
                key: self._checked_size(name, key, plain_number(size))
                for key, size in sizes.items()
                if size is not None
            }
        return {name: sizes for name, sizes in checked.items() if sizes != {}}

    def _checked_depth(self, depth: Any) -> Any:
        depth = plain_number(depth)
        require(
            bool(self.depths),
            "this network's depth is not elastic; give RunConfig elastic_depth, e.g. [2, 3, 4]",
        )
        # 1.0 and True equal 1, but whoever types them means the whole depth.
        known = any(own == depth and type(own) is type(depth) for own in self.depths)
        require(known, f"depth must be one of {list(self.depths)}; got {depth}")
        return depth

    def _checked_size(self, name: str, key: str, size: Any) -> Any:
        candidates = self.choices.get(name, {})
        if key in WIDTH_KEYS and follows_input(self.blocks[name].fn):
            return size  # the published way to write it; compared with what feeds the layer
        if key not in candidates:
            raise InputError(f"layer {name} has no {key!r}; {nearest(key, candidates) or 'none'}")
        layer, largest = self.blocks[name].fn, self._largest(name, key)
        if key == "kernel_size":
            allowed = size in layer.candidate_config[key] or (
                not layer.transform_kernel and size in range(1, largest + 1, 2)
            )
        elif key == "channel":
            allowed = isinstance(size, int) and 1 <= size <= largest
        else:
            allowed = isinstance(size, int | float) and 0 < size <= largest
        require(
            allowed,
            f"{key} of {name} must be at most {largest}, e.g. one of {candidates[key]}; got {size}",
        )
        require(
            key not in WIDTH_KEYS or name not in self.fixed or size == largest,
            f"{name} must keep its full width, {key} {largest}: what follows it needs all of it; "
            f"got {size}",
        )
        require(
            name not in self.skipped or size == largest,
            f"{name} is in skip_layers and must stay at {key} {largest}; got {size}",
        )
        return size


def groups_of(layer: nn.Layer) -> int:
    """Give what a layer's outputs come in multiples of, where it has a width of its own."""
    return 1 if follows_input(layer) else int(getattr(layer, "_groups", 1))


def follows_input(layer: nn.Layer) -> bool:
    """Tell a depthwise convolution: it has no width of its own, but its input's."""
    return hasattr(layer, "_groups") and is_depthwise(layer)


def width_key(candidates: Candidates) -> str | None:
    """Give the key under which a layer chooses its width."""
    return next((key for key in WIDTH_KEYS if key in candidates), None)


def _two_that_differ(chosen: Mapping[str, Any]) -> list[tuple[str, Any]]:
    first = next(iter(chosen.items()))
    return [first, next(item for item in chosen.items() if item[1] != first[1])]


def plain_number(value: Any) -> Any:
    """Turn numpy's numbers into Python's."""
    return value.item() if hasattr(value, "item") else value
