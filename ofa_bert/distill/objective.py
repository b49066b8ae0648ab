"""Objectives: which losses a batch is trained on."""

from __future__ import annotations

import paddle

from ofa_bert.config import ObjectiveConfig
from ofa_bert.data.batches import Batch
from ofa_bert.distill import losses
from ofa_bert.nn.bert import ModelOutput
from ofa_bert.subnet import Subnet


class LabelObjective:
    """Learn the labels: cross entropy, or squared error for a regression."""

    def __init__(self, *, regression: bool) -> None:
        self.loss = losses.squared_error if regression else losses.cross_entropy

    def __call__(
        self, student: ModelOutput, teacher: ModelOutput | None, batch: Batch, subnet: Subnet
    ) -> dict[str, paddle.Tensor]:
        """Give the one term ``label``; the teacher is not looked at."""
        return {"label": self.loss(student.logits, batch.labels, batch.step_examples)}

    def named_parameters(self) -> list[tuple[str, paddle.Tensor]]:
        """Give nothing: only the student learns."""
        return []


class DistillObjective:
    """Learn the teacher's logits, embeddings and hidden states (DynaBERT, arXiv:2004.04037 §2.1).

    ``lambda_logit * KL(teacher || student)`` (squared error for a regression) plus
    ``lambda_rep * sum of hidden_mse`` over the embeddings and every layer of the sub-network,
    each matched to the same layer of the teacher; and ``lambda_label`` times the loss of the
    labels, as distillation was first put (arXiv:1503.02531 §2).
    """

    def __init__(self, config: ObjectiveConfig, *, regression: bool) -> None:
        self.config = config
        self.logit_loss = losses.squared_error if regression else losses.kl_divergence
        self.label_loss = losses.squared_error if regression else losses.cross_entropy

    def __call__(
        self, student: ModelOutput, teacher: ModelOutput | None, batch: Batch, subnet: Subnet
    ) -> dict[str, paddle.Tensor]:
        """Give the terms ``rep``, ``logit`` and ``label``; one with weight 0 is left out."""
        assert teacher is not None, "DistillObjective needs a teacher"
        terms = {}
        if self.config.lambda_rep:
            terms["rep"] = self.config.lambda_rep * self._rep(student, teacher, batch, subnet)
        if self.config.lambda_logit:
            loss = self.logit_loss(student.logits, teacher.logits, batch.step_examples)
            terms["logit"] = self.config.lambda_logit * loss
        if self.config.lambda_label:
            loss = self.label_loss(student.logits, batch.labels, batch.step_examples)
            terms["label"] = self.config.lambda_label * loss
        return terms

    def named_parameters(self) -> list[tuple[str, paddle.Tensor]]:
        """Give nothing: teacher and student have the same sizes, no projection is needed."""
        return []

    def _rep(
        self, student: ModelOutput, teacher: ModelOutput, batch: Batch, subnet: Subnet
    ) -> paddle.Tensor:
        token_mask = batch.attention_mask.unsqueeze(-1).astype("float32")
        matched = [0, *(layer + 1 for layer in subnet.layers)]
        maps = zip(student.hidden_states, matched, strict=True)
        return paddle.add_n(
            [
                losses.hidden_mse(hidden, teacher.hidden_states[i], token_mask, batch.step_tokens)
                for hidden, i in maps
            ]
        )
