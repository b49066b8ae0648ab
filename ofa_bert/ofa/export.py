"""A sub-network as a plain network of its own: no elastic layer, no full-size weight."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ofa_bert.errors import InputError
from ofa_bert.nn.mode import evaluating
from ofa_bert.ofa.active import Sizes, running
from ofa_bert.ofa.at_depth import AtDepth
from ofa_bert.ofa.choices import DEPTH, SearchSpace
from ofa_bert.ofa.cut import make_plain, plain_class, watching
from ofa_bert.ofa.export_arguments import ExportArguments
from ofa_bert.ofa.outputs import bare
from ofa_bert.ofa.static_mode import not_tracing
from ofa_bert.ofa.takeover import replace_sublayers


def exported(
    network: nn.Layer,
    space: SearchSpace,
    asked: ExportArguments,
    inputs: Sequence[Any],
    named: Mapping[str, Any],
) -> nn.Layer:
    """Give the sub-network that was asked for, as ``OFA.export`` says.

    Args:
        network: the supernet; left as it is.
        space: of it, with what is joined in evaluation.
        asked: the sub-network, and what becomes of it.
        inputs: of the supernet's forward, to run it with.
        named: further ones by name.

    Raises:
        InputError: if the configuration is not of this space, or ``origin_model`` is another
            network.
    """
    config = space.complete(asked.config)
    at_depth = {DEPTH: config[DEPTH]} if DEPTH in config else {}
    with not_tracing():
        plain = plain_copy(network, space.sizes(config), inputs, {**named, **at_depth})
    if asked.origin_model is not None:
        plain = cut_in_place(
            bare(asked.origin_model),
            plain,
            elastic_names(network),
            load_weights=asked.load_weights_from_supernet,
        )
    return AtDepth(plain, config[DEPTH]) if at_depth else plain


def plain_copy(
    model: nn.Layer,
    sizes: Mapping[nn.Layer, Sizes],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> nn.Layer:
    """Copy a sub-network as a plain network in eval mode, which shares nothing with ``model``.

    It is run once, to see how wide each layer is.

    Args:
        model: the supernet; left as it is.
        sizes: arguments of its blocks.
        args: of its forward.
        kwargs: of its forward.
    """
    with evaluating(model), paddle.no_grad(), running(sizes=sizes), watching(model, sizes) as used:
        model(*args, **kwargs)
    plain = copy.deepcopy(model)
    with paddle.no_grad():
        make_plain(plain, used)
    plain.eval()
    return plain


def cut_in_place(
    origin: nn.Layer, plain: nn.Layer, elastic: Sequence[str], *, load_weights: bool
) -> nn.Layer:
    """Give a network the sizes of a plain sub-network of it.

    Args:
        origin: the original network, of which ``plain`` is a part; changed in place.
        plain: from ``plain_copy``.
        elastic: names of the layers that were elastic: ``plain``'s take the place of ``origin``'s.
        load_weights: take ``plain``'s weights; else cut ``origin``'s own.

    Raises:
        InputError: if ``origin`` is another network; it is then left as it was.
    """
    theirs, ours = dict(origin.named_sublayers()), dict(plain.named_sublayers())
    own_state, state = origin.state_dict(), plain.state_dict()
    different = set(theirs) ^ set(ours) | set(own_state) ^ set(state)
    if different:
        raise InputError(
            "origin_model must be the network that was converted, before that; "
            f"only one of the two has {sorted(different)[0]}"
        )
    if not load_weights:
        for name, parameter in state.items():
            parameter.set_value(cut_to(own_state[name].numpy(), parameter.shape))
    moved = {id(theirs[name]): ours[name] for name in elastic}
    replace_sublayers([origin, *origin.sublayers()], moved)
    for name, parameter in origin.state_dict().items():
        if parameter is not state[name]:
            parameter.set_value(state[name])
    origin.eval()
    return origin


def cut_to(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Cut a parameter to a shape: the start of its first two axes, the centre of a kernel's.

    A kernel that is smaller gets zeros around it.
    """
    cut = np.zeros(shape, array.dtype)
    both = [slice(min(sizes)) for sizes in zip(shape[:2], array.shape[:2], strict=True)]
    ours, theirs = [*both], [*both]
    for size, whole in zip(shape[2:], array.shape[2:], strict=True):
        ring = abs(size - whole) // 2
        ours.append(slice(ring, ring + whole) if whole < size else slice(None))
        theirs.append(slice(ring, ring + size) if size < whole else slice(None))
    cut[tuple(ours)] = array[tuple(theirs)]
    return cut


def elastic_names(model: nn.Layer) -> list[str]:
    """Name the elastic layers of a network, as they were called before it was converted."""
    names = [name for name, layer in model.named_sublayers() if plain_class(layer)]
    return [name.removesuffix(".fn") for name in names]
