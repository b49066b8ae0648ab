"""What each layer of a network becomes: its class, choices and how much wider it gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from paddle import nn

from ofa_bert.errors import InputError
from ofa_bert.ofa import super_conv, super_norm
from ofa_bert.ofa.space import supernet
from ofa_bert.ofa.super_attention import PROJECTIONS, SuperMultiHeadAttention
from ofa_bert.ofa.super_linear import SuperEmbedding, SuperLinear
from ofa_bert.ofa.super_separable import SuperSeparableConv2D
from ofa_bert.ofa.widths import Candidates
from ofa_bert.rules import require

CONVS = (nn.Conv2D, nn.Conv2DTranspose)
WEIGHTS = (*CONVS, nn.Linear, nn.Embedding)
NORMS = {
    nn.SyncBatchNorm: super_norm.SuperSyncBatchNorm,
    nn.BatchNorm1D: super_norm.SuperBatchNorm1D,
    nn.BatchNorm2D: super_norm.SuperBatchNorm2D,
    nn.BatchNorm: super_norm.SuperBatchNorm,
    nn.InstanceNorm2D: super_norm.SuperInstanceNorm2D,
    nn.LayerNorm: super_norm.SuperLayerNorm,
}


@dataclass(frozen=True)
class Step:
    """What one layer becomes."""

    layer: nn.Layer
    """The layer as it is."""
    cls: type[nn.Layer]
    """Its elastic class."""
    candidates: Candidates
    """Its choices."""
    in_scale: Fraction = Fraction(1)
    """Inputs of the elastic layer, by those of the layer."""
    out_scale: Fraction = Fraction(1)
    """Outputs likewise; of a norm, its features."""


@dataclass(frozen=True)
class Plan:
    """What becomes of a network."""

    steps: tuple[Step, ...]
    """Layers that become elastic."""
    left: tuple[tuple[str, nn.Layer], ...]
    """Layers with parameters that cannot be, with their names."""


def plan_conversion(named: Sequence[tuple[str, nn.Layer]], space: supernet) -> Plan:
    """Plan what becomes of layers that stand in the order in which they were made.

    The first weight layer keeps its inputs and the last one its outputs.

    Args:
        named: every sublayer once, with its name.
        space: the choices.

    Raises:
        InputError: if ``channel`` has not one entry for each weight layer, or an entry lacks the
            layer's own width.
    """
    if space.kernel_size is None and space.expand_ratio is None and space.channel is None:
        return Plan((), ())
    foreign = inside_unknown_attention(named)
    known = [(name, layer) for name, layer in named if id(layer) not in foreign]
    weights = [layer for _, layer in known if base_of(layer, WEIGHTS)]
    if space.channel is not None:
        require(
            len(space.channel) == len(weights),
            f"channel must have one list for each of the {len(weights)} convolution, linear and "
            f"embedding layers; got {len(space.channel)}",
        )
    elastic_width = space.expand_ratio is not None or space.channel is not None
    steps, left = [], []
    scale, number = Fraction(1), 0
    for name, layer in known:
        if base_of(layer, WEIGHTS):
            first, last = number == 0, number == len(weights) - 1
            step = _weight_step(name, layer, space, number, scale, first, last)
            scale, number = step.out_scale, number + 1
            if elastic_width or step.candidates:
                steps.append(step)
        elif norm := base_of(layer, tuple(NORMS)):
            if elastic_width:
                steps.append(Step(layer, NORMS[norm], {}, out_scale=scale))
        elif base_of(layer, (nn.MultiHeadAttention,)):
            if elastic_width:
                steps.append(Step(layer, SuperMultiHeadAttention, {}))
        elif not layer.sublayers() and layer.parameters(include_sublayers=False):
            left.append((name, layer))
    left += [(name, layer) for name, layer in named if _is_unknown_attention(layer)]
    # A layer that cannot change its width is no trouble where nothing does.
    return Plan(tuple(steps), tuple(left) if elastic_width else ())


def base_of(layer: nn.Layer, classes: tuple[type[nn.Layer], ...]) -> type[nn.Layer] | None:
    """Find which of ``classes`` a layer computes as.

    None if it has a forward of its own, or a weight that is no parameter but made anew at each
    call, as ``nn.utils.weight_norm`` and ``spectral_norm`` do.
    """
    for cls in classes:
        if isinstance(layer, cls) and type(layer).forward is cls.forward:
            return None if cls in WEIGHTS and "weight" not in layer._parameters else cls
    return None


def _is_unknown_attention(layer: nn.Layer) -> bool:
    """Tell attention of another kind, or with a projection that is no plain linear layer."""
    return isinstance(layer, nn.MultiHeadAttention) and not (
        base_of(layer, (nn.MultiHeadAttention,))
        and all(base_of(getattr(layer, name), (nn.Linear,)) for name in PROJECTIONS)
    )


def inside_unknown_attention(named: Sequence[tuple[str, nn.Layer]]) -> set[int]:
    """Give the ids of attention layers of another kind, and of all within them."""
    return {
        id(inner)
        for _, layer in named
        if _is_unknown_attention(layer)
        for inner in (layer, *layer.sublayers())
    }


def _weight_step(
    name: str,
    layer: nn.Layer,
    space: supernet,
    number: int,
    scale: Fraction,
    first: bool,
    last: bool,
) -> Step:
    """Plan one weight layer; ``scale`` is how much wider the layer before it became."""
    candidates: Candidates = {}
    in_scale = Fraction(1) if first else scale
    out_scale = Fraction(1)
    depthwise = base_of(layer, CONVS) is not None and super_conv.is_depthwise(layer)
    if depthwise:
        out_scale = in_scale
    elif space.expand_ratio is not None:
        if not last:
            candidates["expand_ratio"] = list(space.expand_ratio)  # type: ignore[arg-type]
            out_scale = Fraction(space.expand).limit_denominator()  # type: ignore[arg-type]
        in_scale = Fraction(1) if first else Fraction(space.expand).limit_denominator()  # type: ignore[arg-type]
    elif space.channel is not None and not last:
        widths, total = list(space.channel[number]), out_width(layer)
        if max(widths) < total:
            raise InputError(
                f"channel[{number}] must hold {total}, all channels of {name}; got {widths}; "
                f"type {[*widths, total]}"
            )
        candidates["channel"] = widths
        out_scale = Fraction(max(widths), total)
    kernel_sizes = _kernel_sizes(layer, space)
    if len(kernel_sizes) > 1:
        candidates["kernel_size"] = kernel_sizes
    return Step(layer, _elastic_class(layer), candidates, in_scale, out_scale)


def out_width(layer: nn.Layer) -> int:
    """Count the outputs of a convolution, also a separable one, a linear or embedding layer."""
    if isinstance(layer, SuperSeparableConv2D):
        return out_width(layer.conv[-1])
    return int(layer._out_channels if isinstance(layer, CONVS) else layer.weight.shape[1])


def _kernel_sizes(layer: nn.Layer, space: supernet) -> list[int]:
    """Give a convolution's kernel sizes, its own among them; none for 1, even or oblong ones."""
    if not space.kernel_size or not base_of(layer, CONVS):
        return []
    height, width = layer._kernel_size
    if height != width or height == 1 or height % 2 == 0:
        return []
    return sorted({*space.kernel_size, height})  # type: ignore[misc]


def _elastic_class(layer: nn.Layer) -> type[nn.Layer]:
    base = base_of(layer, WEIGHTS)
    if base is nn.Linear:
        return SuperLinear
    if base is nn.Embedding:
        return SuperEmbedding
    kind = 0 if layer._groups == 1 else 2 if super_conv.is_depthwise(layer) else 1
    return {
        nn.Conv2D: (
            super_conv.SuperConv2D,
            super_conv.SuperGroupConv2D,
            super_conv.SuperDepthwiseConv2D,
        ),
        nn.Conv2DTranspose: (
            super_conv.SuperConv2DTranspose,
            super_conv.SuperGroupConv2DTranspose,
            super_conv.SuperDepthwiseConv2DTranspose,
        ),
    }[base][kind]
