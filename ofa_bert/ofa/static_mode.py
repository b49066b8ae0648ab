"""Paddle's static mode, in which the whole process is while a network is traced."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paddle

from ofa_bert.rules import require

OPERATORS = tuple(
    f"__{reflected}{name}__"
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
    for reflected in ("", "r")
)
COMPARISONS = ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__")
METHODS = ("__getitem__", "__setitem__", "clone", "detach", "copy_", "_copy_to")

PATIENCE = 60.0
"""Seconds to wait for forwards of other threads."""

_FREE = threading.Condition()  # of an RLock: what is traced may hold an OFA
_runs: list[int] = []  # the thread of each forward that runs now


@contextmanager
def tracing() -> Iterator[None]:
    """Trace while no other thread traces or runs an ``OFA``, and no tensor ends the process.

    In static mode paddle makes symbolic values of the tensors that a forward reads as attributes of
    layers. Of any other (``self.parameters()``, a list, a global) an operator runs without the
    tracer it needs, and the process with it is gone. So for as long as this lasts, and in static
    mode alone, they raise instead; nothing but a change of paddle's own class can make them.

    Raises:
        InputError: if forwards of other threads do not end.
    """
    with _FREE:
        require(
            _FREE.wait_for(lambda: set(_runs) <= {threading.get_ident()}, PATIENCE),
            "a network cannot be traced while other threads run one; call ofa.trace(inputs) "
            "before they do",
        )
        own = vars(paddle.Tensor)
        kept = {name: own[name] for name in (*OPERATORS, *COMPARISONS, *METHODS) if name in own}
        try:
            for name, method in kept.items():
                setattr(paddle.Tensor, name, _refusing(name, method))
            yield
        finally:
            for name, method in kept.items():
                setattr(paddle.Tensor, name, method)


@contextmanager
def not_tracing() -> Iterator[None]:
    """Run a network while no other thread traces: all would be in static mode."""
    thread = threading.get_ident()
    with _FREE:
        _runs.append(thread)
    try:
        yield
    finally:
        with _FREE:
            _runs.remove(thread)
            _FREE.notify_all()


def _refusing(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def refusing(*args: Any, **kwargs: Any) -> Any:
        if not paddle.in_dynamic_mode():
            raise TypeError(f"{name} of a tensor that is not read as an attribute of a layer")
        return method(*args, **kwargs)

    return refusing
