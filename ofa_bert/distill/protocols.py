"""The three parts a training loop is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import paddle
from paddle import nn

from ofa_bert.data.batches import Batch
from ofa_bert.nn.bert import ModelOutput
from ofa_bert.subnet import Subnet


class Student(Protocol):
    """Names the sub-networks a batch trains, and runs one of them."""

    model: nn.Layer

    def subnets(self, step: int) -> Mapping[str, Subnet]:
        """Give the sub-networks to train at optimizer step ``step``, by name, widest first."""

    def __call__(self, batch: Batch, subnet: Subnet) -> ModelOutput:
        """Run one sub-network on a batch."""


class Teacher(Protocol):
    """Answers a batch, in eval mode and without gradient."""

    def __call__(self, batch: Batch) -> ModelOutput | None:
        """Give the teacher's answer, or None where nothing is distilled."""


class Objective(Protocol):
    """Turns two answers into named loss terms that add up to the loss."""

    def __call__(
        self, student: ModelOutput, teacher: ModelOutput | None, batch: Batch, subnet: Subnet
    ) -> dict[str, paddle.Tensor]:
        """Give the terms, each a scalar already weighted and averaged over the whole step."""

    def named_parameters(self) -> Iterable[tuple[str, paddle.Tensor]]:
        """Give what the objective itself trains, such as projections; often nothing.

        The names are those in checkpoints. An objective that is a ``paddle.nn.Layer`` has this.
        """
