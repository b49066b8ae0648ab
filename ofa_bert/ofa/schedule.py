"""Progressive shrinking: which choices are open at which epoch (arXiv:1908.09791 §3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ofa_bert.errors import InputError, nearest
from ofa_bert.ofa.choices import DEPTH, Config
from ofa_bert.ofa.widths import WIDTH_KEYS
from ofa_bert.rules import require

TASKS = ("kernel_size", "depth", "width")
"""In the order in which they are opened, which is that of the paper: the kernel, then depth, then
width."""
KEYS_OF_TASK = {"kernel_size": ("kernel_size",), "depth": (DEPTH,), "width": WIDTH_KEYS}


@dataclass(frozen=True)
class Stage:
    """Which choices are open."""

    tasks: tuple[str, ...] = ()
    """Tasks opened so far, the last one being under way; other choices are at their largest."""
    phase: int | None = None
    """Of the last task the ``phase + 2`` largest values are open; None: all."""


def check_tasks(task: str | Sequence[str], available: Sequence[str]) -> tuple[str, ...]:
    """Read the name of a task or of several; ``expand_ratio`` and ``channel`` mean ``width``.

    Raises:
        InputError: if a task is unknown or the network has no choice of it.
    """
    require(
        isinstance(task, str | list | tuple),
        f"task must be the name of a task or a list of them; got {task!r}",
    )
    tasks = []
    for name in (task,) if isinstance(task, str) else tuple(task):
        if name not in (*TASKS, *WIDTH_KEYS):
            raise InputError(f"no task {name!r}; {nearest(str(name), TASKS)}")
        tasks.append("width" if name in WIDTH_KEYS else name)
        if tasks[-1] not in available:
            raise InputError(
                f"no layer has a choice of {tasks[-1]}; "
                f"this network's tasks: {', '.join(available) or 'none'}"
            )
    require(bool(tasks), f"task must name at least one of {', '.join(available)}; got {task!r}")
    return tuple(dict.fromkeys(tasks))


def tasks_of(free: Mapping[str, Any]) -> tuple[str, ...]:
    """List the tasks of a search space, in the order in which they are opened."""
    keys = {key for sizes in free.values() if isinstance(sizes, Mapping) for key in sizes}
    keys |= {DEPTH} if DEPTH in free else set()
    return tuple(task for task in TASKS if keys & set(KEYS_OF_TASK[task]))


def search_idx(num: int, sorted_nestlist: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Find the task and the phase of an epoch.

    Args:
        num: the epoch, from 0.
        sorted_nestlist: for each task the epochs at which its phases end, excluded.

    Returns:
        The indices of the first phase that ends after ``num``; of the last one from there on.
    """
    for task, ends in enumerate(sorted_nestlist):
        for phase, end in enumerate(ends):
            if num < end:
                return task, phase
    return len(sorted_nestlist) - 1, len(sorted_nestlist[-1]) - 1


def stage_at(epoch: int, order: Sequence[str], n_epochs: Sequence[Sequence[int]] | None) -> Stage:
    """Give the stage of an epoch; without ``n_epochs`` everything is open from the start."""
    if n_epochs is None:
        return Stage(tuple(order))
    task, phase = search_idx(epoch, n_epochs)
    return Stage(tuple(order[: task + 1]), phase)


def open_choices(free: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """Give the values that a stage leaves open, of every choice: one where it is not open."""
    opened = {key: task for task in stage.tasks for key in KEYS_OF_TASK[task]}

    def values_of(key: str, values: Sequence[Any]) -> list[Any]:
        task = opened.get(key)
        if task is None:
            return [values[-1]]
        if stage.phase is not None and task == stage.tasks[-1]:
            return list(values[-(stage.phase + 2) :])
        return list(values)

    return {
        name: values_of(DEPTH, sizes)
        if name == DEPTH
        else {key: values_of(key, values) for key, values in sizes.items()}
        for name, sizes in free.items()
    }


def sample(choices: Mapping[str, Any], sample_type: str, generator: np.random.Generator) -> Config:
    """Give the ``random``, ``largest`` or ``smallest`` configuration.

    Raises:
        InputError: if it is to be none of them.
    """
    require(
        sample_type in ("random", "largest", "smallest"),
        f"sample_type must be random, largest or smallest; got {sample_type!r}",
    )
    if sample_type == "random":
        return draw(choices, generator)
    return extreme(choices, largest=sample_type == "largest")


def draw(choices: Mapping[str, Any], generator: np.random.Generator) -> Config:
    """Draw a configuration, each choice independently and evenly."""

    def one_of(values: Sequence[Any]) -> Any:
        return values[int(generator.integers(len(values)))]

    return {
        name: one_of(sizes)
        if name == DEPTH
        else {key: one_of(values) for key, values in sizes.items()}
        for name, sizes in choices.items()
    }


def extreme(choices: Mapping[str, Any], *, largest: bool) -> Config:
    """Give the largest or the smallest configuration."""
    at = -1 if largest else 0
    return {
        name: sizes[at] if name == DEPTH else {key: values[at] for key, values in sizes.items()}
        for name, sizes in choices.items()
    }
