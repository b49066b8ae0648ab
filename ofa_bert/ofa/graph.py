"""Which layers of a network must share a width, and which must keep theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import paddle
from paddle import nn

from ofa_bert.ofa.axes import Axes, Axis, fix, new_axes
from ofa_bert.ofa.cut import plain_class
from ofa_bert.ofa.layers_base import Block
from ofa_bert.ofa.plan import base_of, inside_unknown_attention
from ofa_bert.ofa.trace import trace
from ofa_bert.ofa.walk import walk

WIDE = (nn.Linear, nn.Conv2D, nn.Conv2DTranspose, nn.Embedding)
"""Layers that have a width of their own."""
FOLLOWING = (
    nn.BatchNorm1D,
    nn.BatchNorm2D,
    nn.BatchNorm,
    nn.SyncBatchNorm,
    nn.InstanceNorm2D,
    nn.LayerNorm,
)
"""Layers whose parameters are cut to the width they are given."""


@dataclass(frozen=True)
class WidthGroups:
    """Layers by their names in ``model.named_sublayers()``. No layer is named twice.

    Layers of ``WIDE`` types that are not named choose their width alone.
    """

    tied: tuple[frozenset[str], ...]
    """Layers whose numbers of outputs must be equal; sets in the order of their first layers."""
    fixed: frozenset[str]
    """Layers whose number of outputs must stay as it is."""
    unreached: frozenset[str] = frozenset()
    """Those of ``fixed`` that did not run, so that nothing is known of them."""


def width_groups(
    model: nn.Layer, inputs: Any, named: Mapping[str, Any] | None = None
) -> WidthGroups:
    """Find what the network's own program says about the widths of its layers.

    Layers are tied where their outputs meet: in a residual addition or another elementwise
    operation, through a depthwise or grouped convolution, in a norm or a layer used twice. They are
    fixed where the width reaches what cannot follow: an output of the network, a concatenation or a
    split along channels, a parameter of a layer that is not elastic, a tensor or a shape written
    out as numbers, a weight read by other code than its layer's, an operation that is not known.
    In a network with ``Block``s the elastic layers are those that are so; in any other one those
    that ``Convert`` would make so.
    A layer that these inputs do not reach is fixed too, for nothing is known of it.

    The heads of ``nn.MultiHeadAttention`` tie its query, key and value projections.

    Args:
        model: left as it is, and traced in the mode it is in.
        inputs: a tuple or list is the arguments of forward, a dict its arguments by name, anything
            else its only argument; tensors, arrays or ``paddle.static.InputSpec`` of known shape.
        named: further arguments by name.

    Raises:
        InputError: if the network does not run on symbolic inputs.
    """
    program = trace(model, inputs, named)
    is_elastic = _elastic_in(model)
    axes = _parameter_axes(model, is_elastic)
    walk(program, axes, is_elastic)
    return _groups(model, axes, seen={id(tensor) for tensor in program.parameters.values()})


def _parameter_axes(model: nn.Layer, is_elastic: Callable[[nn.Layer], bool]) -> dict[int, Axes]:
    """Give each parameter and buffer its axes, by ``id``: fixed unless its layers are elastic."""
    axes: dict[int, Axes] = {}
    for layer in model.sublayers(include_self=True):
        for tensor in _own_tensors(layer):
            own = axes.setdefault(id(tensor), new_axes(tuple(tensor.shape)))
            if not is_elastic(layer):
                fix(own)
        if isinstance(layer, nn.MultiHeadAttention) and is_elastic(layer):
            _mark_heads(layer, axes)
    return axes


def _elastic_in(model: nn.Layer) -> Callable[[nn.Layer], bool]:
    """Give what tells a network's elastic layers: in one that is not converted, those to become so.

    A layer with a forward of its own is none of them: nobody knows what it does with its width.
    """
    named = [("", model), *model.named_sublayers()]
    if any(isinstance(layer, Block) for _, layer in named):
        return lambda layer: plain_class(layer) is not None
    foreign = inside_unknown_attention(named)
    kinds = (*WIDE, *FOLLOWING, nn.MultiHeadAttention)
    return lambda layer: id(layer) not in foreign and base_of(layer, kinds) is not None


def _mark_heads(attention: nn.MultiHeadAttention, axes: dict[int, Axes]) -> None:
    # Their widths go to heads and back in reshapes by numbers, which the elastic attention writes
    # anew for the heads it keeps.
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        weight = projection.weight
        own = axes.setdefault(id(weight), new_axes(tuple(weight.shape)))
        own[_width_axis(projection)].join(Axis(weight.shape[1], by_heads=True))


def _own_tensors(layer: nn.Layer) -> list[paddle.Tensor]:
    own = [*layer._parameters.values(), *layer._buffers.values()]
    return [tensor for tensor in own if tensor is not None]


def _width_axis(layer: nn.Layer) -> int:
    """Tell which axis of a layer's weight is as long as its output is wide.

    With groups it is the first one of both convolutions: inputs and outputs are in proportion.
    """
    if isinstance(layer, nn.Conv2D):
        return 0
    return 0 if isinstance(layer, nn.Conv2DTranspose) and layer._groups > 1 else 1


def _groups(model: nn.Layer, axes: dict[int, Axes], seen: set[int]) -> WidthGroups:
    members: dict[Axis, list[tuple[str, int]]] = {}
    fixed: set[str] = set()
    unreached: set[str] = set()
    for name, layer in model.named_sublayers():
        if isinstance(layer, WIDE):
            weight = getattr(layer, "weight", None)
            if weight is None or id(weight) not in seen:
                unreached.add(name)
                continue
            axis = axes[id(weight)][_width_axis(layer)]
            members.setdefault(axis.root, []).append((name, axis.size))
    tied = []
    for root, layers in members.items():
        names = frozenset(name for name, _ in layers)
        # Sizes in proportion, 8 and 16: no choice of one can be left to the other's rounding.
        if root.fixed or len({size for _, size in layers}) > 1:
            fixed |= names
        elif len(names) > 1:
            tied.append(names)
    return WidthGroups(tuple(tied), frozenset(fixed | unreached), frozenset(unreached))
