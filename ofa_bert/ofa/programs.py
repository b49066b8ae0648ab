"""What all programs of a converted network say of its widths."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import paddle
from paddle import nn

from ofa_bert.errors import InputError
from ofa_bert.nn.mode import evaluating
from ofa_bert.ofa.active import running
from ofa_bert.ofa.choices import DEPTH, SearchSpace, follows_input, width_key
from ofa_bert.ofa.graph import WidthGroups, width_groups
from ofa_bert.ofa.plan import base_of
from ofa_bert.ofa.static_mode import tracing
from ofa_bert.ofa.ties import tie
from ofa_bert.rules import require

DROPOUTS = (nn.Dropout, nn.Dropout2D, nn.Dropout3D, nn.AlphaDropout, nn.FeatureAlphaDropout)


def traced_space(
    space: SearchSpace, network: nn.Layer, inputs: Any, named: Mapping[str, Any]
) -> SearchSpace:
    """Give a space with the ties and fixed widths that the network's programs show.

    Each depth has a program of its own, and so has training, where the network is in it: what is
    joined in any of them is. Training that cannot be traced is left out, with a warning.

    Args:
        space: of the network.
        network: left as it is.
        inputs: arguments of its forward, as of ``trace.call``.
        named: further ones by name.

    Raises:
        InputError: if the network cannot be traced with them in evaluation, or is being traced.
    """
    calls = [{**named, DEPTH: depth} for depth in space.depths] or [dict(named)]
    with tracing():
        require(
            paddle.in_dynamic_mode(),
            "which layers are joined must be known before an OFA is traced itself, or a thread "
            "begins while another one traces; call ofa.trace(inputs) before that",
        )
        try:
            found = _programs(network, inputs, calls)
        finally:
            if not paddle.in_dynamic_mode():
                paddle.disable_static()
    fixed = frozenset.union(*(program.fixed - program.unreached for program in found))
    fixed |= frozenset.intersection(*(program.unreached for program in found))
    chooser = _choosers(space, network)
    tied = [filter(None, map(chooser, group)) for program in found for group in program.tied]
    return tie(space, tied, filter(None, map(chooser, fixed)))


def _programs(network: nn.Layer, inputs: Any, calls: list[dict[str, Any]]) -> list[WidthGroups]:
    """Trace evaluation, and training if the network is in it: without that if it cannot be."""
    is_training = any(layer.training for layer in network.sublayers(include_self=True))
    with running(sizes={}):
        with evaluating(network):
            found = [width_groups(network, inputs, call) for call in calls]
        if not is_training:
            return found
        try:
            with _without_dropout(network):
                return found + [width_groups(network, inputs, call) for call in calls]
        except InputError as error:
            # A forward that reads a number or writes a weight in training has trained well so far.
            warnings.warn(
                f"in training, {error}; layers are taken to be joined as in evaluation, which "
                "ofa.eval(); ofa.trace(x); ofa.train() does without this warning",
                stacklevel=2,
            )
            return found


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
