"""Apply the rules to a whole program, operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import paddle
from paddle import nn

from ofa_bert.ofa.axes import Axes, fix, flat, new_axes
from ofa_bert.ofa.operands import Operands, unknown
from ofa_bert.ofa.rules import RULES
from ofa_bert.ofa.shape_rules import reorganise
from ofa_bert.ofa.trace import Operation, Trace


def walk(
    program: Trace, parameter_axes: dict[int, Axes], is_elastic: Callable[[nn.Layer], bool]
) -> None:
    """Join the axes of parameters as the program uses them, and fix those that cannot shrink.

    Args:
        program: its outputs are fixed.
        parameter_axes: axes of each parameter, by ``id``; a parameter that is not there is fixed.
        is_elastic: tells the layers that follow the width of their input.
    """
    axes: dict[str, Any] = {}
    constants: dict[str, list[int | None]] = {}
    for op in program.operations:
        made: list[Any]
        _fix_strange_uses(op, program, axes)
        if op.results and op.results[0] in program.parameters:
            tensor = program.parameters[op.results[0]]
            unlisted = new_axes(tuple(tensor.shape), fixed=True)
            made = [parameter_axes.get(id(tensor), unlisted)]
        elif op.name == "builtin.combine":
            made = [[axes[value] if value else None for value in op.operands]]
        elif op.name == "builtin.split":
            made = axes[str(op.operands[0])]
        else:
            made = _apply(op, program, axes, constants, is_elastic)
        axes.update(zip(op.results, made, strict=True))
        constants.update(_constant(op, constants))
    for value in program.outputs:
        fix(flat(axes[value]))


def _apply(
    op: Operation,
    program: Trace,
    axes: Mapping[str, Any],
    constants: Mapping[str, list[int | None]],
    is_elastic: Callable[[nn.Layer], bool],
) -> list[Any]:
    rule = RULES.get(op.name, unknown)
    if op.name == "pd_op.reshape" and op.operands[0] in program.parameters:
        rule = reorganise  # a layer that reshapes its own bias writes the size it has
    if isinstance(op.layer, nn.LayerNorm) and not is_elastic(op.layer):
        rule = unknown  # it has its shape written out even where it has no weight
    return rule(
        Operands(
            axes=[axes[value] if value else None for value in op.operands],
            constants=[constants.get(value) if value else None for value in op.operands],
            attributes=op.attributes,
            shapes=[program.shapes[result] for result in op.results],
        )
    )


def _fix_strange_uses(op: Operation, program: Trace, axes: Mapping[str, Any]) -> None:
    """Fix parameters that other code reads than the forward of a layer whose own they are."""
    for value in op.operands:
        if value in program.parameters and not _owns(op.layer, program.parameters[value]):
            fix(axes[value])
    for value in op.captured:
        fix(flat(axes.get(value)))


def _owns(layer: nn.Layer | None, tensor: paddle.Tensor) -> bool:
    own = [] if layer is None else [*layer._parameters.values(), *layer._buffers.values()]
    return any(one is tensor for one in own)


def _constant(
    op: Operation, constants: Mapping[str, list[int | None]]
) -> dict[str, list[int | None]]:
    """Give the integers of an operation that makes them: shapes and axes are passed so."""
    if op.name == "pd_op.full_int_array":
        values = list(op.attributes["value"])
    elif op.name == "pd_op.full" and len(op.attributes["shape"]) <= 1:
        values = [int(op.attributes["value"])]
    elif op.name == "builtin.combine":
        values = [constants.get(str(value), [None])[0] for value in op.operands]
    elif op.name == "pd_op.stack" and str(op.operands[0]) in constants:
        values = constants[str(op.operands[0])]
    else:
        return {}
    return {op.results[0]: values}
