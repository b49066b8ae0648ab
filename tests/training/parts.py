"""Tiny trainings: a supernet with its teacher, and a fine-tuning."""

from __future__ import annotations

from ofa_bert.config import ObjectiveConfig
from ofa_bert.distill.objective import DistillObjective, LabelObjective
from ofa_bert.distill.student import SubnetStudent, width_student
from ofa_bert.distill.teacher import ModelTeacher, NoTeacher
from ofa_bert.subnet import resolve_widths
from ofa_bert.training import Parts
from tests.tiny import randomise, tiny_config, tiny_model

WIDTHS = (1.0, 0.75, 0.5)
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def scores(value=0.5):
    return {"full": {"accuracy": value, "score": value}}


def ofa_parts(config, *, same=False, **objective):
    teacher, student = tiny_model(config), tiny_model(config)
    if not same:
        randomise(student, seed=5)
    widths = resolve_widths(config, WIDTHS)
    loss = DistillObjective(ObjectiveConfig(**objective), regression=config.is_regression)
    return Parts(width_student(student, widths), ModelTeacher(teacher), loss), widths


def finetune_parts(seed=0, **changes):
    model = tiny_model(tiny_config(**changes), seed)
    return Parts(SubnetStudent(model), NoTeacher(), LabelObjective(regression=False))
