"""What all programs of a converted network say of its widths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import paddle
from paddle import nn

from ofa_bert.ofa.active import running
from ofa_bert.ofa.choices import DEPTH, SearchSpace, follows_input, width_key
from ofa_bert.ofa.graph import width_groups
from ofa_bert.ofa.outputs import evaluating
from ofa_bert.ofa.plan import base_of
from ofa_bert.ofa.ties import tie

DROPOUTS = (nn.Dropout, nn.Dropout2D, nn.Dropout3D, nn.AlphaDropout, nn.FeatureAlphaDropout)


def traced_space(
    space: SearchSpace, network: nn.Layer, inputs: tuple[Any, ...], named: Mapping[str, Any]
) -> SearchSpace:
    """Give a space with the ties and fixed widths that the network's programs show.

    Each depth has a program of its own, and so has training, where the network is in it: what is
    joined in any of them is.

    Args:
        space: of the network.
        network: left as it is.
        inputs: arguments of its forward.
        named: further ones by name.

    Raises:
        InputError: if the network cannot be traced with them.
    """
    calls = [{**named, DEPTH: depth} for depth in space.depths] or [dict(named)]
    try:
        found = []
        for mode in _modes(network):
            with mode, running(sizes={}):
                found += [width_groups(network, inputs, call) for call in calls]
    finally:
        if not paddle.in_dynamic_mode():
            paddle.disable_static()
    fixed = frozenset.union(*(program.fixed - program.unreached for program in found))
    fixed |= frozenset.intersection(*(program.unreached for program in found))
    chooser = _choosers(space, network)
    tied = [filter(None, map(chooser, group)) for program in found for group in program.tied]
    return tie(space, tied, filter(None, map(chooser, fixed)))


def _modes(network: nn.Layer) -> list[AbstractContextManager[None]]:
    """Give what a network is traced in: evaluation, and the mode it is in, if that is another."""
    training = any(layer.training for layer in network.sublayers(include_self=True))
    return [evaluating(network), _without_dropout(network)] if training else [evaluating(network)]


@contextmanager
def _without_dropout(network: nn.Layer) -> Iterator[None]:
    """Leave out what training and evaluation do alike to each width.

    Where whole channels are dropped, paddle draws as many numbers as there are channels, written
    out in the program, and it would seem that there must always be so many.
    """
    with ExitStack() as stack:
        for layer in network.sublayers(include_self=True):
            if base_of(layer, DROPOUTS):
                stack.enter_context(evaluating(layer))
        yield


def _choosers(space: SearchSpace, network: nn.Layer) -> Callable[[str], str | None]:
    """Give a function from a layer's name to the name of the block that chooses its width.

    It is the layer's own name where no block does, and None where its input does.
    """
    blocks = {
        id(layer): name
        for name, block in space.blocks.items()
        for layer in block.fn.sublayers(include_self=True)
        # Of what a block holds, a layer with a choice: the last convolution of a separable one.
        if layer is block.fn or width_key(getattr(layer, "candidate_config", {}))
    }
    layers = dict(network.named_sublayers())

    def chooser(name: str) -> str | None:
        layer = layers[name]
        own = None if follows_input(layer) else name
        return blocks.get(id(layer), own)

    return chooser
