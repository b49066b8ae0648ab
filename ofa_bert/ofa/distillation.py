"""Distillation of one ``OFA``: who teaches it, at which layers, and what both said last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import paddle
from paddle import nn

from ofa_bert.errors import InputError
from ofa_bert.ofa.mapping import mapped_loss, mapping_ops
from ofa_bert.ofa.outputs import bare
from ofa_bert.ofa.settings import DistillConfig
from ofa_bert.ofa.teacher import Answer, Teacher, load_teacher
from ofa_bert.rules import require

Outputs = Mapping[str, paddle.Tensor]
"""Of the mapped layers that ran, by name."""


@dataclass(frozen=True)
class Distillation:
    """A teacher and the layers whose outputs are to agree; without a teacher, nothing."""

    teacher: Teacher | None = None
    ops: Mapping[str, nn.Layer | None] = field(default_factory=dict)
    """What is put on the student's output of each mapped layer; None: nothing."""
    compared: tuple[Outputs, Outputs] | None = None
    """The student's and the teacher's of the last forward."""

    def parameters(self) -> list[paddle.Tensor]:
        """Give those of what is put on the student's outputs."""
        return [parameter for op in self.ops.values() if op for parameter in op.parameters()]

    def ask(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> Answer | None:
        """Give the teacher's answer to a batch, None without a teacher."""
        return self.teacher(inputs, named) if self.teacher else None

    def comparing(self, outputs: Outputs, answer: Answer | None) -> Distillation:
        """Give what it is after a forward: the student's outputs and the teacher's answer."""
        return replace(self, compared=None if answer is None else (outputs, answer.mapped))

    def loss(self, config: DistillConfig | None, token_mask: paddle.Tensor | None) -> paddle.Tensor:
        """Compare the outputs of the last forward, as ``OFA.calc_distill_loss`` does.

        Args:
            config: its ``distill_fn`` and ``lambda_distill`` hold.
            token_mask: ``[batch, seq_len]``, 0 for padding; None: all count.

        Raises:
            InputError: if there is no mapped layer, or nothing ran yet.
        """
        require(
            bool(self.ops),
            "calc_distill_loss needs layers to compare; give DistillConfig mapping_layers",
        )
        if self.compared is None or config is None:
            raise InputError("calc_distill_loss compares the last forward; run the network first")
        loss = mapped_loss(*self.compared, self.ops, config.distill_fn, token_mask)
        return loss if config.lambda_distill is None else loss * config.lambda_distill


def distillation_of(model: nn.Layer, config: DistillConfig | None) -> Distillation:
    """Prepare what a configuration says; the teacher is given its weights.

    Args:
        model: the student.
        config: None: nobody teaches.

    Raises:
        InputError: if the teacher is the student, or the two do not fit each other.
    """
    if config is None:
        return Distillation()
    teacher, names = config.teacher_model, config.mapping_layers or ()
    require(
        teacher is not bare(model) and teacher is not model,
        "teacher_model must be another network than the one that is trained; load it twice",
    )
    ops = mapping_ops(bare(model), teacher, names, config.mapping_op)
    if config.teacher_model_path is not None:
        load_teacher(teacher, config.teacher_model_path)
    return Distillation(Teacher(teacher, names), ops)
