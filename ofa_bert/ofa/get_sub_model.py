"""The search for layers that share or lose their width, under its published module name."""

from __future__ import annotations

from typing import Any

from paddle import nn


def check_search_space(model: nn.Layer, inputs: Any) -> Any:
    """Find them in a network's program; see ``graph.width_groups``, which this is."""
    from ofa_bert.ofa.graph import width_groups

    return width_groups(model, inputs)


__all__ = ["check_search_space"]
