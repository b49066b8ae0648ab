"""What is known of which layers of a network are joined: as given, and as traced so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from paddle import nn

from ofa_bert.errors import InputError, nearest
from ofa_bert.nn.mode import evaluating
from ofa_bert.ofa.choices import SearchSpace
from ofa_bert.ofa.programs import traced_space
from ofa_bert.ofa.ties import tie

BOTH_MODES = frozenset({False, True})


@dataclass(frozen=True)
class Joined:
    """The search space of a network, with the layers that are known to be joined tied in it.

    A trace is made only for what runs narrower than the whole, so a network that cannot be traced
    runs whole. Inputs that evaluation takes need not do for training: each may be found by itself.
    """

    given: SearchSpace
    """With what is tied before any trace."""
    space: SearchSpace
    """With what was traced besides."""
    modes: frozenset[bool]
    """Of which it is known what is joined in them, as in ``nn.Layer.training``."""

    def is_enough(self, config: Mapping[str, Any] | None, *, training: bool) -> bool:
        """Tell whether a configuration can run in a mode without a trace; None: whichever comes."""
        return training in self.modes or (config is not None and not self._narrows(config))

    def traced(
        self, network: nn.Layer, inputs: Any, named: Mapping[str, Any], *, for_training: bool
    ) -> Joined:
        """Give what is known after a trace, of evaluation and of the mode that the network is in.

        Args:
            network: whose space it is; left as it is.
            inputs: arguments of its forward, as of ``trace.call``.
            named: further ones by name.
            for_training: what is found is all that training joins, too.

        Raises:
            InputError: if the network cannot be traced with them.
        """
        modes = BOTH_MODES if for_training else frozenset({False})
        return replace(self, space=self._traced_space(network, inputs, named), modes=modes)

    def evaluated_space(
        self,
        config: Mapping[str, Any],
        network: nn.Layer,
        inputs: Any,
        named: Mapping[str, Any],
    ) -> SearchSpace:
        """Give the space of a configuration in evaluation; arguments are those of ``traced``.

        Nothing of it need be kept: what training joins may be found later, with inputs it takes.

        Raises:
            InputError: if the network would have to be traced, and cannot be with these.
        """
        if not self._narrows(config) or False in self.modes:
            return self.space
        with evaluating(network):
            return self._traced_space(network, inputs, named)

    def _narrows(self, config: Mapping[str, Any]) -> bool:
        """Tell whether any layer is narrower at a configuration, so that what it meets must be."""
        return self.given.narrows(self.given.complete(config))

    def _traced_space(
        self, network: nn.Layer, inputs: Any, named: Mapping[str, Any]
    ) -> SearchSpace:
        # What evaluation alone has fixed, training may join: it is traced with it, from the start.
        space = self.space if True in self.modes else self.given
        return traced_space(space, network, inputs, named)


def joined_as_given(space: SearchSpace, groups: Sequence[Sequence[str]] | None) -> Joined:
    """Give what is known before any trace.

    Args:
        space: of the network.
        groups: layers of one width, all that there are; None: they are to be traced, unless no
            layer has a choice of its width.

    Raises:
        InputError: if a layer of them is unknown, or they have no width in common.
    """
    for name in (name for group in groups or () for name in group):
        if name not in space.blocks:
            raise InputError(
                f"same_search_space: no elastic layer {name!r}; {nearest(name, space.choices)}"
            )
    given = tie(space, groups or (), ())
    is_known = groups is not None or not space.has_widths()
    return Joined(given, given, BOTH_MODES if is_known else frozenset())
