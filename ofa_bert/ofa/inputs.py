"""What a network is called with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import paddle
from paddle import nn

from ofa_bert.errors import InputError
from ofa_bert.ofa.choices import DEPTH
from ofa_bert.rules import require


def build_input(input_size: Any, dtypes: Any) -> Any:
    """Make random inputs of given shapes.

    Args:
        input_size: a shape ``[1, 3, 28, 28]``; a dict of shapes by name; or a list of either.
        dtypes: ``"float32"`` and so on: one, or a list with one for each input.

    Returns:
        A tensor, a dict of tensors, or a list of either: numbers in [0, 1), of whole ones 0.

    Raises:
        InputError: if a shape or a type cannot be built.
    """
    first = dtypes[0] if isinstance(dtypes, list | tuple) and dtypes else dtypes
    if isinstance(input_size, Mapping):
        by_name = dtypes if isinstance(dtypes, Mapping) else dict.fromkeys(input_size, first)
        for name in input_size:
            require(
                name in by_name,
                f"input_dtypes must have a type for each input; {name!r} has none; "
                f"got {dict(by_name)}",
            )
        return {name: build_input(size, by_name[name]) for name, size in input_size.items()}
    if not isinstance(input_size, list | tuple) or not input_size:
        raise InputError(
            f"input_shapes must be a shape, a dict or a list of them; got {input_size!r}; "
            "type e.g. [[1, 3, 32, 32]]"
        )
    if all(isinstance(size, Integral) for size in input_size):
        return _tensor(input_size, first)
    types = dtypes if isinstance(dtypes, list | tuple) else [dtypes] * len(input_size)
    if len(types) != len(input_size):
        raise InputError(
            f"input_dtypes must have one entry for each of the {len(input_size)} inputs; "
            f"got {list(types)}"
        )
    return [build_input(size, dtype) for size, dtype in zip(input_size, types, strict=True)]


def example_arguments(input_size: Any, dtypes: Any) -> tuple[Any, ...]:
    """Make the arguments of a forward as ``build_input`` does, of which a list is several.

    The random state stays as it is: a training that goes on draws what it would have drawn.
    """
    state = paddle.get_rng_state()
    try:
        built = build_input(input_size, dtypes)
    finally:
        paddle.set_rng_state(state)
    return tuple(built) if isinstance(built, list) else (built,)


def check_takes_depth(network: nn.Layer) -> None:
    """Raise ``InputError`` unless a network's forward takes a ``depth``."""
    parameters = inspect.signature(network.forward).parameters
    by_name = (
        DEPTH in parameters and parameters[DEPTH].kind is not inspect.Parameter.POSITIONAL_ONLY
    )
    by_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    require(
        by_name or by_any,
        "elastic_depth: the network's forward must take a depth argument, and run that many of "
        f"its layers; {type(network).__name__}.forward takes {', '.join(parameters)}",
    )


def _tensor(shape: Sequence[int], dtype: Any) -> paddle.Tensor:
    try:
        return paddle.rand(list(shape)).astype(dtype)
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError):
        raise InputError(
            f"cannot build an input of shape {list(shape)} and type {dtype!r}; shapes are whole "
            "numbers above 0, types are e.g. 'float32' or 'int64'"
        ) from None
