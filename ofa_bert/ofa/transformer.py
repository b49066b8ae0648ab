"""The attention and feed-forward layers of a transformer, found by their structure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from paddle import nn

from ofa_bert.ofa.layers_base import Block
from ofa_bert.ofa.outputs import bare


@dataclass(frozen=True)
class FeedForward:
    """Two linear layers, from the hidden width to the neurons' and back."""

    first: nn.Layer
    """Its outputs are the neurons."""
    second: nn.Layer
    """Its inputs are the neurons."""


def inner(layer: nn.Layer) -> nn.Layer:
    """Give the layer within a ``Block``; any other layer is itself."""
    return layer.fn if isinstance(layer, Block) else layer


def attentions(model: nn.Layer) -> list[nn.Layer]:
    """Give the attention layers of a network, in the order in which they were made."""
    return [layer for layer in bare(model).sublayers() if isinstance(layer, nn.MultiHeadAttention)]


def feed_forwards(
    model: nn.Layer, first_name: str | None = None, second_name: str | None = None
) -> list[FeedForward]:
    """Give the feed-forward pairs of a network, in the order in which they were made.

    A pair is two linear layers that follow each other in one parent, the second from the first's
    outputs back to its inputs, of which there are fewer or more. By name where names are given.
    """
    found = []
    for parent in (bare(model), *bare(model).sublayers()):
        linears = [
            (name, child)
            for name, child in parent.named_children()
            if isinstance(inner(child), nn.Linear)
        ]
        if first_name is not None:
            by_name = dict(linears)
            if first_name in by_name and second_name in by_name:
                found.append(FeedForward(by_name[first_name], by_name[second_name]))
            continue
        for (_, one), (_, other) in pairwise(linears):
            inputs, neurons = inner(one).weight.shape
            if inputs != neurons and inner(other).weight.shape == [neurons, inputs]:
                found.append(FeedForward(one, other))
    return found
