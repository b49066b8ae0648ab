"""The static program of a network, as plain data: which operation turns which tensors into which.

Nothing here depends on what the program is read for. The network is run once on symbolic tensors:
no kernel runs, no weight is read, and paddle is back in dynamic mode afterwards.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ofa_bert.errors import InputError
from ofa_bert.ofa.marks import Mark, layers_of, mark_layers
from ofa_bert.ofa.static_mode import tracing
from ofa_bert.ofa.unchanged import show_kept_tensors, unchanged

Shape = tuple[int, ...]
CONSTANT_TYPES = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Operation:
    """One operation of the program. Values go by an id; a list of tensors is a value too."""

    name: str
    """Paddle's name, without the tail that marks in-place variants: ``pd_op.relu``."""
    operands: tuple[str | None, ...]
    """Values read; None where an optional one is absent."""
    results: tuple[str, ...]
    """Values made."""
    attributes: dict[str, Any]
    captured: tuple[str, ...] = ()
    """Values read inside the branches of a control-flow operation."""
    layer: nn.Layer | None = None
    """The innermost layer whose forward did it; None outside of all."""


@dataclass(frozen=True)
class Trace:
    """A network's program."""

    operations: tuple[Operation, ...]
    """In the order in which they run."""
    shapes: dict[str, Shape | list[Shape]]
    """Of every value; a list of shapes for a list of tensors. -1 where a size depends on data."""
    parameters: dict[str, paddle.Tensor]
    """Values that are parameters or buffers of the network, and which ones."""
    outputs: tuple[str, ...]
    """Values the network returns, however deep in lists and dicts."""


def trace(model: nn.Layer, inputs: Any, named: Mapping[str, Any] | None = None) -> Trace:
    """Run ``model`` once on symbolic inputs and read what it did.

    The model runs in the mode it is in, and only the branches taken for these inputs are seen.

    Args:
        model: left as it is: mode, parameters, buffers, hooks, what its forward keeps on a layer.
        inputs: a tuple or list is the arguments of forward, a dict its arguments by name, anything
            else its only argument. Tensors, arrays and ``InputSpec`` of known shape become
            symbolic, however deep in lists and dicts; numbers, strings and None are passed on.
        named: further arguments by name, likewise.

    Raises:
        InputError: if an input is none of these, or the network does not run on symbolic inputs.
    """
    by_name = dict(named or {})
    arguments = [list(inputs) if isinstance(inputs, tuple) else inputs, by_name]
    leaves = paddle.utils.flatten(arguments)
    paths = [*_paths(inputs), *_paths(by_name)]
    specs = [_spec(leaf, path) for leaf, path in zip(leaves, paths, strict=True)]
    symbolic = [spec for spec in specs if spec is not None]
    failures: list[Exception] = []

    def run(tensors: Sequence[Any]) -> Any:
        values = iter(tensors)
        filled = [
            leaf if spec is None else next(values) for leaf, spec in zip(leaves, specs, strict=True)
        ]
        given, given_by_name = paddle.utils.pack_sequence_as(arguments, filled)
        try:
            return call(model, given, **given_by_name)
        except Exception as error:
            failures.append(error)
            raise

    try:
        with tracing(), unchanged(model):
            show_kept_tensors(model)
            marks = mark_layers(model)
            program = _program(run, symbolic)
    except Exception as error:
        cause = failures[0] if failures else error
        raise InputError(_failure(model, symbolic, cause)) from cause
    return _read(program, marks)


def call(model: nn.Layer, inputs: Any, /, **named: Any) -> Any:
    """Run a network: a tuple or list is its arguments, a dict its arguments by name.

    ``named`` are further arguments by name.
    """
    if isinstance(inputs, dict):
        return model(**inputs, **named)
    arguments = inputs if isinstance(inputs, tuple | list) else [inputs]
    return model(*arguments, **named)


def _program(run: Callable[..., Any], specs: list[paddle.static.InputSpec]) -> Any:
    # not_to_static: paddle would otherwise rewrite the source of every forward it meets, which
    # fails on some Python and is needed only for branches that depend on data.
    static = paddle.jit.to_static(
        paddle.jit.not_to_static(run), input_spec=[specs], full_graph=True
    )
    with quiet_norms():
        return static.concrete_program


@contextmanager
def quiet_norms() -> Iterator[None]:
    """Keep every BatchNorm in training mode from warning that it tracks its statistics."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "When training, we now always track global mean")
        yield


def _spec(leaf: Any, path: str) -> paddle.static.InputSpec | None:
    if isinstance(leaf, CONSTANT_TYPES):
        return None
    if isinstance(leaf, paddle.static.InputSpec):
        if any(size is None or size < 0 for size in leaf.shape):
            raise InputError(
                f"{path} must have a known shape; got {list(leaf.shape)}; "
                f"type a size for each, e.g. {[s if s and s > 0 else 2 for s in leaf.shape]}"
            )
        return paddle.static.InputSpec(leaf.shape, leaf.dtype)
    if isinstance(leaf, paddle.Tensor):
        return paddle.static.InputSpec(leaf.shape, leaf.dtype)
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biuf":
        return paddle.static.InputSpec(leaf.shape, str(leaf.dtype))
    raise InputError(
        f"{path} must be a tensor, an array of numbers or an InputSpec to be traced; got "
        f"{type(leaf).__name__}; type paddle.static.InputSpec(shape, dtype) in its place"
    )


def _paths(structure: Any, path: str = "inputs") -> Iterator[str]:
    """Name the leaves as a user would index them, in the order of ``paddle.utils.flatten``."""
    if isinstance(structure, dict):
        for key in sorted(structure):
            yield from _paths(structure[key], f"{path}[{key!r}]")
    elif isinstance(structure, tuple | list):
        for index, part in enumerate(structure):
            yield from _paths(part, f"{path}[{index}]")
    else:
        yield path


def _failure(model: nn.Layer, specs: list[paddle.static.InputSpec], cause: Exception) -> str:
    shapes = ", ".join(f"{_dtype_name(s.dtype)} {list(s.shape)}" for s in specs) or "no tensor"
    return (
        f"{type(model).__name__} could not be traced on inputs {shapes}: "
        f"{said_by(cause)}; give inputs that its forward takes and whose values it "
        "does not read, or name the layers that share a width: RunConfig(same_search_space=[...])"
    )


def said_by(error: Exception) -> str:
    """Give the kind and the first line of what paddle said, without its frames."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if not line.startswith("---")), "")
    return f"{type(error).__name__}: {said}"


def _dtype_name(dtype: Any) -> str:
    return str(dtype).removeprefix("paddle.")


def _read(program: Any, marks: list[Mark]) -> Trace:
    parameters, values = program.parameters
    ops = program.main_program.global_block().ops
    shapes = {}
    operations = []
    for op, layer in zip(ops, layers_of([op.id() for op in ops], marks), strict=True):
        operations.append(_operation(op, layer))
        shapes.update({value.id: _shape(value) for value in op.results()})
    outputs = [leaf for leaf in paddle.utils.flatten(program.outputs) if hasattr(leaf, "id")]
    return Trace(
        operations=tuple(operations),
        shapes=shapes,
        parameters={v.id: p for p, v in zip(parameters, values, strict=True)},
        outputs=tuple(value.id for value in outputs),
    )


def _operation(op: Any, layer: nn.Layer | None) -> Operation:
    return Operation(
        name=op.name().rstrip("_"),
        operands=tuple(v.id if v.initialized() else None for v in op.operands_source()),
        results=tuple(value.id for value in op.results()),
        attributes=op.attrs(),
        captured=tuple(_captured(op)),
        layer=layer,
    )


def _captured(op: Any) -> Iterator[str]:
    for block in op.blocks():
        for inner in block.ops:
            yield from (value.id for value in inner.operands_source() if value.initialized())
            yield from _captured(inner)


def _shape(value: Any) -> Shape | list[Shape]:
    vector = value.type().as_vec_type()
    if vector is not None:
        return [tuple(part.shape) for part in vector.as_list()]
    return tuple(value.shape)
