"""Turn any network into a supernet: ``Convert``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import paddle
from paddle import nn

from ofa_bert.errors import InputError
from ofa_bert.ofa.compiled import check_not_compiled
from ofa_bert.ofa.layers_base import Block
from ofa_bert.ofa.plan import CONVS, NORMS, WEIGHTS, Plan, base_of, plan_conversion
from ofa_bert.ofa.space import supernet
from ofa_bert.ofa.super_attention import SuperMultiHeadAttention
from ofa_bert.ofa.super_conv import init_elastic, is_depthwise
from ofa_bert.ofa.takeover import replace_sublayers, take_over
from ofa_bert.ofa.widen import widen
from ofa_bert.rules import require


class Convert:
    """Puts elastic layers in the place of those of a network.

    Args:
        context: the choices.
    """

    def __init__(self, context: supernet) -> None:
        require(
            isinstance(context, supernet),
            f"Convert takes a supernet(expand_ratio=[0.5, 1.0]) or the like; "
            f"got a {type(context).__name__}",
        )
        self.context = context

    def convert(self, network: Any) -> Any:
        """Convert a network in place, or a list of layers into a new list.

        Each elastic layer has its layer's own parameters, so the network at full size computes what
        it did, and what was tied stays tied. With an ``expand_ratio`` above 1, channels above a
        layer's own or kernels above its own, parameters grow, and what was there is in them.
        Layers that cannot be elastic stay as they are, and a warning names them.

        Args:
            network: any network, or layers in the order in which they run.

        Returns:
            The same network; or the layers, elastic ones in their places.

        Raises:
            InputError: if the network is a single layer, is converted or compiled already, or does
                not fit the choices. It is left as it was.
        """
        require(
            isinstance(network, nn.Layer | list | tuple),
            f"convert takes a network or a list of layers; got a {type(network).__name__}",
        )
        if isinstance(network, (*WEIGHTS, *NORMS, nn.MultiHeadAttention)):
            raise InputError(
                f"a {type(network).__name__} by itself cannot be converted in place; wrap it: "
                "convert(nn.Sequential(layer))"
            )
        layers = [network] if isinstance(network, nn.Layer) else list(network)
        named = _named_layers(network)
        for top in layers:
            check_not_compiled(top)
        for name, layer in named:
            if isinstance(layer, Block) and isinstance(network, nn.Layer):
                raise InputError(
                    f"the network is converted already: {name} is a Block; convert once"
                )
        plan = plan_conversion(named, self.context)
        _check_scales(plan)
        _warn_of_left(plan)
        elastic = _build(plan)
        inside = [layer for top in layers for layer in (top, *top.sublayers())]
        # An elastic attention layer took over the projections as they were.
        replace_sublayers([*inside, *elastic.values()], elastic)
        if isinstance(network, nn.Layer):
            return network
        return [elastic.get(id(layer), layer) for layer in layers]


def _named_layers(network: nn.Layer | Sequence[nn.Layer]) -> list[tuple[str, nn.Layer]]:
    """Give every sublayer once, with its name, in the order in which they were made."""
    if isinstance(network, nn.Layer):
        return list(network.named_sublayers())
    named: dict[int, tuple[str, nn.Layer]] = {}
    for number, top in enumerate(network):
        require(
            isinstance(top, nn.Layer),
            f"convert takes a network or a list of layers; item {number} is a {type(top).__name__}",
        )
        for name, layer in top.named_sublayers(prefix=str(number), include_self=True):
            if not isinstance(layer, Block):
                named.setdefault(id(layer), (name, layer))
    return list(named.values())


def _check_scales(plan: Plan) -> None:
    """Raise ``InputError`` where a wider layer would not have whole channels, groups or heads."""
    for step in plan.steps:
        name, layer = step.layer.full_name(), step.layer
        groups = getattr(layer, "_groups", 1)
        if isinstance(layer, CONVS) and groups > 1 and not is_depthwise(layer):
            for scale, total in (
                (step.in_scale, layer._in_channels),
                (step.out_scale, layer._out_channels),
            ):
                require(
                    (scale * total) % groups == 0,
                    f"{name} has {groups} groups, which do not divide {float(scale * total):g} "
                    "channels; use another expand_ratio or channel",
                )
        if isinstance(layer, nn.LayerNorm):
            require(
                step.out_scale == 1 or len(layer._normalized_shape) == 1,
                f"{name} normalises over {layer._normalized_shape}; only one axis can get wider; "
                "use an expand_ratio of at most 1",
            )
        if step.cls is SuperMultiHeadAttention:
            scale = _scale_of(plan, layer.q_proj)
            require(
                (scale * layer.num_heads).denominator == 1,
                f"{name} has {layer.num_heads} heads, of which expand_ratio {float(scale):g} is "
                "no whole number; use another one",
            )


def _scale_of(plan: Plan, layer: nn.Layer) -> Fraction:
    return next(step.out_scale for step in plan.steps if step.layer is layer)


def _warn_of_left(plan: Plan) -> None:
    if plan.left:
        names = ", ".join(f"{name} ({type(layer).__name__})" for name, layer in plan.left)
        warnings.warn(
            f"these layers cannot be made elastic and stay as they are: {names}; "
            "what feeds them must keep its full width",
            stacklevel=4,
        )


def _build(plan: Plan) -> dict[int, nn.Layer]:
    """Make the elastic layers, by the id of the layer each of them replaces."""
    elastic: dict[int, nn.Layer] = {}
    grown: dict[int, paddle.Tensor] = {}
    for step in plan.steps:
        layer = take_over(step.layer, step.cls)
        if step.cls is SuperMultiHeadAttention:
            scale = _scale_of(plan, step.layer.q_proj)
            for name in ("embed_dim", "kdim", "vdim", "num_heads"):
                setattr(layer, name, round(getattr(layer, name) * scale))
        else:
            widen(layer, step, grown)
        if base_of(step.layer, CONVS):
            init_elastic(layer, step.candidates, transform_kernel=True)
        elif base_of(step.layer, WEIGHTS):
            layer.candidate_config = step.candidates
        is_weight = base_of(step.layer, WEIGHTS) is not None
        elastic[id(step.layer)] = Block(layer, key=step.layer.full_name()) if is_weight else layer
    return elastic
