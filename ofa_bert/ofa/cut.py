"""Plain layers of just the size that a sub-network uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import paddle
from paddle import nn

from ofa_bert.errors import InputError
from ofa_bert.ofa import super_conv, super_norm
from ofa_bert.ofa.active import Sizes
from ofa_bert.ofa.layers_base import Block
from ofa_bert.ofa.super_attention import SuperMultiHeadAttention
from ofa_bert.ofa.super_linear import SuperEmbedding, SuperLinear
from ofa_bert.ofa.super_separable import SeparableConv2D, SuperSeparableConv2D
from ofa_bert.ofa.takeover import replace_sublayers, take_over
from ofa_bert.ofa.widen import parameter_like

PLAIN = {
    SuperLinear: nn.Linear,
    SuperEmbedding: nn.Embedding,
    super_conv.SuperConv2D: nn.Conv2D,
    super_conv.SuperConv2DTranspose: nn.Conv2DTranspose,
    super_norm.SuperBatchNorm1D: nn.BatchNorm1D,
    super_norm.SuperBatchNorm2D: nn.BatchNorm2D,
    super_norm.SuperBatchNorm: nn.BatchNorm,
    # Runs everywhere; paddle turns it into SyncBatchNorm where that is wanted.
    super_norm.SuperSyncBatchNorm: nn.BatchNorm2D,
    super_norm.SuperInstanceNorm2D: nn.InstanceNorm2D,
    super_norm.SuperLayerNorm: nn.LayerNorm,
    SuperMultiHeadAttention: nn.MultiHeadAttention,
    SuperSeparableConv2D: SeparableConv2D,
}
CONVS = (super_conv.SuperConv2D, super_conv.SuperConv2DTranspose)


@dataclass(frozen=True)
class Used:
    """What went through a layer."""

    inputs: tuple[int, ...]
    """Shape of its input."""
    outputs: tuple[int, ...]
    """Shape of its output."""
    sizes: Sizes
    """The arguments of its block."""
    heads: int
    """Heads of an attention layer; 0 elsewhere."""


def plain_class(layer: nn.Layer) -> type[nn.Layer] | None:
    """Give the class that an elastic layer has in a plain network; None if it is not elastic."""
    return next((plain for cls, plain in PLAIN.items() if isinstance(layer, cls)), None)


@contextmanager
def watching(model: nn.Layer, sizes: Mapping[nn.Layer, Sizes]) -> Iterator[dict[str, Used]]:
    """Note what goes through the elastic layers of a network, by name, while it runs.

    Raises:
        InputError: if a layer is used at two sizes: no one plain layer can be both.
    """
    used: dict[str, Used] = {}

    def note_as(name: str, own: Sizes) -> Any:
        def note(layer: nn.Layer, inputs: Any, output: Any) -> None:
            output = output[0] if isinstance(output, list | tuple) else output
            attention = isinstance(layer, SuperMultiHeadAttention)
            now = Used(
                # Hooks see no tensor that came by name. A Block gives its layer none so, and
                # what a norm puts out has the shape of what it took.
                tuple((inputs[0] if inputs else output).shape),
                tuple(output.shape),
                own,
                layer.kept_heads() if attention else 0,
            )
            before = used.setdefault(name, now)
            if _widths(layer, before) != _widths(layer, now):
                raise InputError(
                    f"{name.removesuffix('.fn')} is used twice with different widths: "
                    f"{before.inputs} and {now.inputs}; give the layers before it one width"
                )

        return note

    arguments = {id(block.fn): own for block, own in sizes.items()}
    hooks = [
        layer.register_forward_post_hook(note_as(name, arguments.get(id(layer), {})))
        for name, layer in model.named_sublayers()
        if plain_class(layer)
    ]
    try:
        yield used
    finally:
        for hook in hooks:
            hook.remove()


def make_plain(model: nn.Layer, used: Mapping[str, Used]) -> None:
    """Put plain layers in the place of elastic ones, each of the size that was used of it.

    Layers that nothing went through keep their full size. Parameters that were shared stay so.

    Args:
        model: changed in place.
        used: by name.
    """
    cut: dict[Any, paddle.Tensor] = {}
    plain: dict[int, nn.Layer] = {}
    for name, layer in model.named_sublayers():
        if plain_class(layer):
            plain[id(layer)] = plain_layer(layer, used.get(name), cut)
    for layer in model.sublayers():
        if isinstance(layer, Block):
            plain[id(layer)] = plain.get(id(layer.fn), layer.fn)
    replace_sublayers([model, *model.sublayers(), *plain.values()], plain)


def plain_layer(layer: nn.Layer, used: Used | None, cut: dict[Any, paddle.Tensor]) -> nn.Layer:
    """Cut one layer.

    Args:
        layer: an elastic layer.
        used: what of it; None: all.
        cut: parameters made so far, by the one they are of, their shape and what made them of it.
    """
    plain = take_over(layer, plain_class(layer))  # type: ignore[arg-type]
    plain.__dict__.pop("candidate_config", None)
    parts = _parts(layer, used)
    if isinstance(layer, CONVS):
        _settle_conv(plain, layer, used, parts)
    for name, part in parts.items():
        source = layer._parameters[name]
        made_by = _kernel_of(layer, used) if name == "weight" else ()
        key = (id(source), tuple(part.shape), *made_by)
        if key not in cut:
            cut[key] = parameter_like(plain, source, part)
        plain._parameters[name] = cut[key]
    if isinstance(layer, SuperEmbedding):
        plain._embedding_dim = parts["weight"].shape[1]
        plain._size = list(parts["weight"].shape)
    if isinstance(layer, SuperMultiHeadAttention) and used:
        plain.num_heads = used.heads
    if hasattr(layer, "_num_features") and parts:
        plain._num_features = next(iter(parts.values())).shape[0]
    if isinstance(layer, nn.LayerNorm) and used:
        plain._normalized_shape = list(used.inputs[-len(layer._normalized_shape) :])
    return plain


def _parts(layer: nn.Layer, used: Used | None) -> dict[str, paddle.Tensor]:
    """Give what a sub-network uses of each parameter of a layer."""
    own = {name: p for name, p in layer._parameters.items() if p is not None}
    if used is None:
        return {name: p for name, p in own.items() if not name.endswith("_matrix")}
    if isinstance(layer, CONVS):
        part = _conv_part(layer, used)
        return {"weight": part.weight} | ({} if part.bias is None else {"bias": part.bias})
    if isinstance(layer, nn.LayerNorm):
        shape = list(used.inputs[-len(layer._normalized_shape) :])
        return {name: layer.part(p, shape) for name, p in own.items()}
    if isinstance(layer, nn.Linear):
        inputs, outputs = used.inputs[-1], used.outputs[-1]
        return {
            name: p[:inputs, :outputs] if name == "weight" else p[:outputs]
            for name, p in own.items()
        }
    if isinstance(layer, nn.Embedding):
        return {"weight": own["weight"][:, : used.outputs[-1]]}
    width = used.inputs[_channel_axis(layer)] if own else 0
    return {name: p[:width] for name, p in own.items()}


def _kernel_of(layer: nn.Layer, used: Used | None) -> tuple[int, ...]:
    """Tell a smaller kernel from others of the same weight: its size and its layer's matrices."""
    size = used.sizes.get("kernel_size") if used and isinstance(layer, CONVS) else None
    if size is None or size == layer._kernel_size[0]:
        return ()
    matrices = (p for name, p in layer._parameters.items() if name.endswith("_matrix"))
    return (size, *map(id, matrices))


def _conv_part(layer: nn.Layer, used: Used) -> super_conv.ConvPart:
    """Cut a convolution as its forward did."""
    depthwise = super_conv.is_depthwise(layer)
    return super_conv.conv_part(
        layer,
        used.inputs[layer._channel_dim],
        used.sizes.get("kernel_size"),
        None,
        None if depthwise else used.outputs[layer._channel_dim],
        transposed=isinstance(layer, super_conv.SuperConv2DTranspose),
    )


def _settle_conv(
    plain: nn.Layer, layer: nn.Layer, used: Used | None, parts: Mapping[str, paddle.Tensor]
) -> None:
    """Build the settings of a cut convolution as its constructor would."""
    for name in [name for name in plain._parameters if name.endswith("_matrix")]:
        del plain._parameters[name]
    plain.__dict__.pop("transform_kernel", None)
    if used is None:
        return
    part = _conv_part(layer, used)
    inputs, outputs = used.inputs[layer._channel_dim], used.outputs[layer._channel_dim]
    shared = {
        "stride": layer._stride,
        "padding": part.padding if layer._padding_mode == "zeros" else layer._padding,
        "dilation": layer._dilation,
        "groups": part.groups,
        "data_format": layer._data_format,
        # Its weights are thrown away: only what it makes of its settings is wanted.
        "weight_attr": paddle.ParamAttr(initializer=nn.initializer.Constant(0.0)),
    }
    kernel = list(part.weight.shape[2:])
    if isinstance(layer, nn.Conv2DTranspose):
        built = nn.Conv2DTranspose(
            inputs, outputs, kernel, output_padding=layer.output_padding, **shared
        )
    else:
        built = nn.Conv2D(inputs, outputs, kernel, padding_mode=layer._padding_mode, **shared)
    for name, setting in built.__dict__.items():
        if name in SETTINGS:
            plain.__dict__[name] = setting


SETTINGS = (
    "_in_channels",
    "_out_channels",
    "_groups",
    "_kernel_size",
    "_padding",
    "_updated_padding",
    "_padding_algorithm",
    "_reversed_padding_repeated_twice",
    "_op_type",
    "_use_cudnn",
)
"""What a convolution's constructor makes of its sizes."""


def _channel_axis(layer: nn.Layer) -> int:
    data_format = getattr(layer, "_data_format", getattr(layer, "_data_layout", "NCHW"))
    return 1 if data_format.startswith("NC") else -1


def _widths(layer: nn.Layer, used: Used) -> tuple[Any, ...]:
    """Give what of two uses must agree for one plain layer to serve both."""
    if isinstance(layer, SuperEmbedding):
        return (used.outputs[-1],)
    if isinstance(layer, SuperMultiHeadAttention):
        return (used.heads,)
    axis = layer._channel_dim if isinstance(layer, CONVS) else -1
    if isinstance(layer, (SuperLinear, nn.LayerNorm, *CONVS)):
        return used.inputs[axis], used.outputs[axis]
    return (used.inputs[_channel_axis(layer)],)
