"""What the layers inside a network put out while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import paddle
from paddle import nn

from ofa_bert.errors import InputError, nearest


def bare(model: nn.Layer) -> nn.Layer:
    """Unwrap ``paddle.DataParallel``."""
    return model._layers if isinstance(model, paddle.DataParallel) else model


def named_layers(model: nn.Layer, names: Iterable[str], what: str) -> dict[str, nn.Layer]:
    """Look layers up by name.

    Raises:
        InputError: if one is not there; ``what`` says who asked.
    """
    layers = dict(bare(model).named_sublayers())
    found = {}
    for name in names:
        # A teacher that is not converted has no Blocks, and no ".fn" in their names.
        own = name if name in layers else name.removesuffix(".fn")
        if own not in layers:
            raise InputError(f"{what}: no layer {name!r}; {nearest(name, _alike(name, layers))}")
        found[name] = layers[own]
    return found


def outputs_of(
    model: nn.Layer, names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[dict[str, paddle.Tensor], Any]:
    """Run a network and keep the outputs of some of its layers; of a tuple, its first.

    Returns:
        The outputs by name, of the layers that ran, and what the network returned.
    """
    kept: dict[str, paddle.Tensor] = {}

    def keep_as(name: str) -> Any:
        def keep(layer: nn.Layer, inputs: Any, output: Any) -> None:
            kept[name] = output[0] if isinstance(output, list | tuple) else output

        return keep

    layers = named_layers(model, names, "mapping_layers")
    hooks = [layer.register_forward_post_hook(keep_as(name)) for name, layer in layers.items()]
    try:
        output = model(*args, **kwargs)
    finally:
        for hook in hooks:
            hook.remove()
    return kept, output


def _alike(name: str, layers: Iterable[str]) -> list[str]:
    """Keep an error message short: a large network has hundreds of layers."""
    tail = name.rsplit(".", 1)[-1]
    return [other for other in layers if other.rsplit(".", 1)[-1] == tail] or list(layers)[:20]
