"""The two recipes that are compared, behind one face: ours, and the predecessor's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import paddle

import ofa_bert as ofa
from benchmarks import incumbent
from ofa_bert.data.batches import Batch
from ofa_bert.data.encoded import EncodedDataset
from ofa_bert.distill.recorded import make_teacher
from ofa_bert.extraction import extract
from ofa_bert.optimizer import make_optimizer
from ofa_bert.subnet import count_macs, full_subnet
from ofa_bert.training import train_step

WIDTHS = (1.0, 5 / 6, 2 / 3, 1 / 2)
LEARNING_RATE = 2e-5
MATRIX_SIZE = 1024


class Ours:
    """This toolkit's step over all widths."""

    def __init__(self, model: ofa.BertForSequenceClassification, batch_size: int) -> None:
        self.config = model.config
        self.student = extract(model, full_subnet(model.config))
        self.widths = ofa.resolve_widths(model.config, WIDTHS)
        self.loop = ofa.Parts(
            ofa.width_student(self.student, self.widths),
            ofa.ModelTeacher(model),
            ofa.DistillObjective(ofa.ObjectiveConfig(), regression=False),
        )
        self.training = ofa.TrainConfig(batch_size=batch_size, learning_rate=LEARNING_RATE)
        self.optimizer = make_optimizer(self.student, [], self.training)
        self.steps = 0

    def train_as(self, rows: EncodedDataset, change: str) -> None:
        """Train with another schedule, or with recorded answers of the teacher to ``rows``."""
        student, teacher = self.loop.student, self.loop.teacher
        if change == "recorded":
            teacher = make_teacher(teacher.model, rows, "memory")
        if change == "sandwich" or change.startswith("random"):
            student = ofa.width_student(self.student, self.widths, change)
        self.loop = ofa.Parts(student, teacher, self.loop.objective)

    def step(self, batch: Batch) -> list[float]:
        """Take a step; give the loss of each width."""
        return self._step(self.loop, self.optimizer, batch)

    def parts_of_step(self, batch: Batch) -> dict[str, float]:
        """Take a step; give the seconds of its parts, and of the whole."""
        clock = Clock()
        timed = ofa.Parts(
            TimedStudent(self.loop.student, clock),
            clock.around("teacher", self.loop.teacher),
            TimedObjective(self.loop.objective, clock),
        )
        self._step(timed, TimedOptimizer(self.optimizer, clock), batch)
        clock.mark("other")
        return {**clock.seconds, "step": sum(clock.seconds.values())}

    def gflop_of_step(self, batch: Batch) -> float:
        """Count a step's matrix products, in 10^9 operations.

        The teacher's forward, and of each width a forward and a backward of twice the work.
        """
        rows, length = batch.input_ids.shape
        whole = full_subnet(self.config)
        macs = count_macs(self.config, whole, length)
        macs += sum(3 * count_macs(self.config, subnet, length) for subnet in self.widths.values())
        return 2 * rows * macs / 1e9

    def _step(self, parts: ofa.Parts, optimizer: Any, batch: Batch) -> list[float]:
        self.steps += 1
        terms = train_step(parts, [batch], optimizer, self.training, self.steps)
        return [sum(values.values()) for values in terms.values()]


class Theirs:
    """The predecessor's step over all widths."""

    def __init__(self, model: ofa.BertForSequenceClassification, batch_size: int) -> None:
        self.ofa = incumbent.make_supernet(model.config, model.state_dict())
        self.optimizer = incumbent.make_optimizer(self.ofa, LEARNING_RATE)

    def step(self, batch: Batch) -> list[float]:
        """Take a step; give the loss of each width."""
        return incumbent.train_step(self.ofa, batch, WIDTHS, self.optimizer)


class Clock:
    """Adds up the seconds between marks under the names they are given."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.running = "other"
        self._last = time.perf_counter()

    def mark(self, name: str | None = None) -> None:
        """Book the time since the last mark under ``name``, or what was said to be running."""
        now, name = time.perf_counter(), name or self.running
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last, self.running = now, "other"

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give a function that books its own time."""

        def timed(*arguments: Any) -> Any:
            self.mark()
            answer = function(*arguments)
            self.mark(name)
            return answer

        return timed


class TimedStudent:
    """A student that books its forwards."""

    def __init__(self, student: Any, clock: Clock) -> None:
        self.student, self.clock = student, clock
        self.model, self.subnets = student.model, student.subnets

    def __call__(self, batch: Batch, subnet: Any) -> Any:
        """Run one sub-network."""
        return self.clock.around(f"forward, {subnet.num_heads[0]} heads", self.student)(
            batch, subnet
        )


class TimedObjective:
    """An objective that books its losses; what follows them is their backward."""

    def __init__(self, objective: Any, clock: Clock) -> None:
        self.objective, self.clock = objective, clock
        self.named_parameters = objective.named_parameters

    def __call__(self, student: Any, teacher: Any, batch: Batch, subnet: Any) -> Any:
        """Give the loss terms."""
        terms = self.clock.around("losses", self.objective)(student, teacher, batch, subnet)
        self.clock.running = f"backward, {subnet.num_heads[0]} heads"
        return terms


class TimedOptimizer:
    """An optimizer that books its update, clipping included."""

    def __init__(self, optimizer: Any, clock: Clock) -> None:
        self.clear_grad = optimizer.clear_grad
        self.step = clock.around("optimizer", optimizer.step)


def matrix_gflop_per_s(runs: int = 20) -> float:
    """Measure how fast this process multiplies square matrices: the median, in 10^9 a second."""
    left, right = (paddle.randn([MATRIX_SIZE, MATRIX_SIZE]) for _ in range(2))
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        paddle.matmul(left, right)
        seconds.append(time.perf_counter() - start)
    return 2 * MATRIX_SIZE**3 / 1e9 / sorted(seconds)[runs // 2]


def without_first(losses: Sequence[float]) -> list[float]:
    """Give the losses less that of width 1.0.

    Before any step that is the entropy of the teacher's answer, which the predecessor's loss
    keeps and ours does not; it depends on no weight of the student.
    """
    return [loss - losses[0] for loss in losses]
