"""What a rule reads of one operation, and the two rules that need no more than its shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ofa_bert.ofa.axes import fix, flat, new_axes


@dataclass(frozen=True)
class Operands:
    """What a rule may read of one operation."""

    axes: list[Any]
    """Of each operand: its ``Axes``; a list of ``Axes`` for a list of tensors; None if absent."""
    constants: list[list[int | None] | None]
    """Of each operand: its values where it is a constant of integers, None for unknown ones."""
    attributes: dict[str, Any]
    shapes: list[Any]
    """Of each result."""

    def integers(self, operand: int, attribute: str) -> list[int] | None:
        """Give a list that paddle passes as an operand or as an attribute; None if unknown."""
        if operand < len(self.constants) and self.constants[operand] is not None:
            values = self.constants[operand]
        else:
            values = self.attributes.get(attribute)
        if isinstance(values, int | float):
            values = [int(values)]
        if values is None or None in values:
            return None
        return [int(value) for value in values if value is not None]


Rule = Callable[[Operands], list[Any]]
"""Joins and fixes axes of the operands; gives those of each result."""


def unknown(op: Operands) -> list[Any]:
    """Fix all that goes in or comes out: nothing is known of what the operation does."""
    fix(flat(op.axes))
    return new_axes(op.shapes, fixed=True)


def apart(op: Operands) -> list[Any]:
    """Results that hold sizes or counts, and say nothing of the operands' axes."""
    return new_axes(op.shapes, fixed=True)
