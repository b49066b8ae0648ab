"""A try that is not in the toolkit: each core trains on its share of the batch, in one process.

Paddle's elementwise operators use one thread, so a second one helps only with matrix products. Here
every worker thread takes a share of the rows through teacher, all widths and their backwards, on a
network of its own that shares the weights' memory but not the gradients, which are then summed.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import paddle

import ofa_bert as ofa
from benchmarks.recipes import LEARNING_RATE, WIDTHS
from ofa_bert.data.batches import Batch
from ofa_bert.extraction import extract
from ofa_bert.nn.dropout import reseed
from ofa_bert.optimizer import make_optimizer
from ofa_bert.subnet import full_subnet


class Workers:
    """A training step of all widths, its rows split among threads."""

    def __init__(
        self, model: ofa.BertForSequenceClassification, batch_size: int, count: int = 2
    ) -> None:
        self.students = [extract(model, full_subnet(model.config)) for _ in range(count)]
        for copy in self.students[1:]:
            for target, shared in zip(copy.parameters(), self.parameters(), strict=True):
                shared._share_buffer_to(target)
        self.subnets = ofa.named_widths(ofa.resolve_widths(model.config, WIDTHS))
        self.teacher = ofa.ModelTeacher(model)
        self.objective = ofa.DistillObjective(ofa.ObjectiveConfig(), regression=False)
        training = ofa.TrainConfig(batch_size=batch_size, learning_rate=LEARNING_RATE)
        self.optimizer = make_optimizer(self.students[0], [], training)
        self.pool = ThreadPoolExecutor(count)
        self.steps = 0

    def parameters(self) -> list[Any]:
        """Give the weights that all workers share."""
        return self.students[0].parameters()

    def step(self, batch: Batch) -> list[float]:
        """Take a step; give the loss of each width."""
        self.steps += 1
        losses = list(self.pool.map(self._train, self.students, shares(batch, len(self.students))))
        for copy in self.students[1:]:
            self._add_gradients_of(copy)
        self.optimizer.step()
        self.optimizer.clear_grad()
        return [float(sum(parts)) for parts in zip(*losses, strict=True)]

    def _train(self, student: Any, batch: Batch) -> list[float]:
        student.train()
        reseed(student, self.steps * len(self.students) + self.students.index(student))
        answer, losses = self.teacher(batch), []
        for subnet in self.subnets.values():
            output = student(
                batch.input_ids, batch.token_type_ids, batch.attention_mask, subnet=subnet
            )
            terms = self.objective(output, answer, batch, subnet)
            loss = paddle.add_n(list(terms.values()))
            loss.backward()
            losses.append(loss.item())
        return losses

    @paddle.no_grad()
    def _add_gradients_of(self, copy: Any) -> None:
        for target, part in zip(self.parameters(), copy.parameters(), strict=True):
            if part.grad is not None:
                target.grad.add_(part.grad)
                part.clear_gradient()


def shares(batch: Batch, count: int) -> list[Batch]:
    """Split a batch into parts whose losses add up to the whole's."""
    return [part_of(batch, rows) for rows in np.array_split(np.arange(len(batch.indices)), count)]


def part_of(batch: Batch, rows: np.ndarray) -> Batch:
    """Give some rows of a batch as a part of the same step."""
    chosen = slice(int(rows[0]), int(rows[-1]) + 1)
    return Batch(
        input_ids=batch.input_ids[chosen],
        token_type_ids=batch.token_type_ids[chosen],
        attention_mask=batch.attention_mask[chosen],
        labels=batch.labels[chosen],
        indices=batch.indices[chosen],
        step_examples=batch.step_examples,
        step_tokens=batch.step_tokens,
    )
