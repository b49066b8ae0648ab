"""Where training stands in the schedule: said by the user, or counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

from ofa_bert.ofa.schedule import Stage, check_tasks, stage_at, tasks_of
from ofa_bert.ofa.settings import RunConfig
from ofa_bert.rules import require


@dataclass(frozen=True)
class Progress:
    """How far training is.

    What it is measured by, the schedule ``run`` and the tasks in the ``order`` in which they open,
    is an argument: both belong to the ``OFA``, whose user may set them anew.
    """

    epoch: int | None = None
    """From 0, as ``set_epoch`` said; None: the one that the batches seen make."""
    stage: Stage | None = None
    """As ``set_task`` said; None: that of the epoch."""
    forwards: int = 0
    """In training, of the batch that is under way."""
    batches: int = 0
    """Seen in training."""

    def at_epoch(self, epoch: int) -> Progress:
        """Go on at an epoch.

        Raises:
            InputError: if it is not a whole number, at least 0.
        """
        require(
            isinstance(epoch, Integral) and epoch >= 0,
            f"epoch must be a whole number, at least 0; got {epoch!r}",
        )
        return replace(self, epoch=int(epoch))

    def at_task(
        self, task: str | Sequence[str] | None, phase: int | None, free: Mapping[str, Any]
    ) -> Progress:
        """Go on with some tasks open, or at the stage of the epoch if ``task`` is None.

        Args:
            task: one or several.
            phase: of the last of them; see ``Stage``.
            free: the choices of the network.

        Raises:
            InputError: if the network has no such task, or ``phase`` is no whole number.
        """
        require(
            phase is None or (isinstance(phase, int) and phase >= 0),
            f"phase must be a whole number, at least 0; got {phase!r}",
        )
        if task is None:
            return replace(self, stage=None)
        return replace(self, stage=Stage(check_tasks(task, tasks_of(free)), phase))

    def after_forward(self, run: RunConfig, order: Sequence[str]) -> Progress:
        """Count a forward in training: so many of them make a batch as the newest task says."""
        if self.forwards + 1 < self._forwards_per_batch(run, order):
            return replace(self, forwards=self.forwards + 1)
        return replace(self, forwards=0, batches=self.batches + 1)

    def stage_now(self, run: RunConfig, order: Sequence[str]) -> Stage:
        """Give what is open.

        Raises:
            InputError: if that depends on the epoch, which is neither said nor counted.
        """
        if self.stage is not None:
            return self.stage
        epoch = self._epoch_now(run)
        require(
            epoch is not None or run.n_epochs is None,
            "the schedule must know the epoch; call set_epoch, or give RunConfig "
            "train_batch_size and total_images",
        )
        return stage_at(epoch or 0, order, run.n_epochs)

    def _epoch_now(self, run: RunConfig) -> int | None:
        """Give the epoch that was said, or else the one that the batches seen make."""
        if self.epoch is None and run.total_images and run.train_batch_size:
            return self.batches // math.ceil(run.total_images / run.train_batch_size)
        return self.epoch

    def _forwards_per_batch(self, run: RunConfig, order: Sequence[str]) -> int:
        if not run.dynamic_batch_size or self._epoch_now(run) is None:
            return 1
        newest = [order.index(t) for t in self.stage_now(run, order).tasks if t in order]
        return run.dynamic_batch_size[max(newest, default=0)]


def task_order(asked: Sequence[str] | None, free: Mapping[str, Any], run: RunConfig) -> list[str]:
    """Give the tasks of a network in the order in which they open.

    Args:
        asked: that order; None: the one of ``schedule.TASKS``.
        free: the choices of the network.
        run: the schedule.

    Raises:
        InputError: if it has no such task, or ``run`` has not one entry for each.
    """
    available = tasks_of(free)
    order = available if asked is None else asked
    order = list(check_tasks(order, available) if order else ())
    for name in ("n_epochs", "dynamic_batch_size"):
        per_task = getattr(run, name)
        require(
            per_task is None or len(per_task) == len(order),
            f"{name} must have one entry for each task of {order}; got {per_task}",
        )
    return order
