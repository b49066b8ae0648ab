"""Networks of ``paddle.jit.to_static``, which cannot run at a configuration."""

from __future__ import annotations

from paddle import nn
from paddle.jit.dy2static.program_translator import ProgramTranslator, StaticFunction

from ofa_bert.errors import InputError


def check_not_compiled(network: nn.Layer) -> None:
    """Raise ``InputError`` if a layer's forward is a compiled one.

    It would keep the program of the sub-network that it first ran, whatever runs later. While
    ``paddle.jit.enable_to_static(False)`` holds, it is run as it was written.
    """
    if not ProgramTranslator().enable_to_static:
        return
    for name, layer in network.named_sublayers(include_self=True):
        if isinstance(layer.forward, StaticFunction):
            what = f"{name} ({type(layer).__name__})" if name else type(layer).__name__
            raise InputError(
                f"{what} is compiled by paddle.jit.to_static, and would run the same sub-network "
                "whatever is set; use the network without to_static, and to_static what "
                "ofa.export gives"
            )
