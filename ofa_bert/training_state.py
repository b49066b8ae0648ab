"""What a checkpoint holds: everything that the next step of a run needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import paddle
from paddle import nn
from safetensors.numpy import load_file, save

from ofa_bert.durable import DamagedError
from ofa_bert.errors import InputError
from ofa_bert.metrics_log import MetricsLog
from ofa_bert.scores import Best

Arrays = dict[str, np.ndarray]
STATE, WEIGHTS, OPTIMIZER, OBJECTIVE = (
    "state.json",
    "model.safetensors",
    "optimizer.safetensors",
    "objective.safetensors",
)
FILES = (STATE, WEIGHTS, OPTIMIZER, OBJECTIVE)


class HasParameters(Protocol):
    """An objective, or anything else that trains parameters of its own."""

    def named_parameters(self) -> Iterable[tuple[str, paddle.Tensor]]:
        """Give each with a name that stays the same from run to run."""


@dataclass(frozen=True)
class Trained:
    """The objects that training changes, to copy from and to put back into."""

    model: nn.Layer
    objective: HasParameters
    optimizer: paddle.optimizer.Optimizer
    metrics_log: MetricsLog


@dataclass(frozen=True)
class TrainingState:
    """A run after one of its steps. What is random in a step is a function of its number."""

    step: int
    """Optimizer steps taken: position in the epoch, learning rate and seeds follow from it."""
    best: Best
    metrics: dict[str, Any]
    """What the metrics log has gathered since its last line."""
    run: dict[str, Any]
    """Which run this is: what it started from, with which settings and versions."""
    weights: Arrays
    optimizer: Arrays
    objective: Arrays

    def write(self, directory: Path) -> None:
        """Write the files of a checkpoint into an empty directory."""
        arrays = {WEIGHTS: self.weights, OPTIMIZER: self.optimizer, OBJECTIVE: self.objective}
        for name, values in arrays.items():
            (directory / name).write_bytes(save(values))
        state = {
            "step": self.step,
            "best": self.best.to_dict() if self.best.step else None,
            "metrics": self.metrics,
            "run": self.run,
        }
        text = json.dumps(state, indent=2)
        (directory / STATE).write_text(text + "\n", encoding="utf-8")


def read_state(directory: Path) -> TrainingState:
    """Read what ``write`` wrote; its manifest says that it is just that."""
    arrays = [load_file(directory / name) for name in (WEIGHTS, OPTIMIZER, OBJECTIVE)]
    return TrainingState(*read_description(directory), *arrays)


def read_description(directory: Path) -> tuple[int, Best, dict[str, Any], dict[str, Any]]:
    """Read all but the arrays: step, best scores, gathered metrics and which run it is.

    Raises:
        DamagedError: if it is of another form.
    """
    try:
        state = json.loads((directory / STATE).read_text(encoding="utf-8"))
        best = Best(**state["best"]) if state["best"] else Best()
        return int(state["step"]), best, dict(state["metrics"]), dict(state["run"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DamagedError(f"{STATE} is not as this version writes it") from None


def capture(step: int, best: Best, trained: Trained, run: Mapping[str, Any]) -> TrainingState:
    """Copy the state of a run after ``step``.

    Raises:
        InputError: if a weight is NaN or infinite; nothing could be continued from it.
    """
    state = TrainingState(
        step=step,
        best=best,
        metrics=trained.metrics_log.pending(),
        run=dict(run),
        weights=model_arrays(trained.model),
        optimizer=optimizer_arrays(_parameters(trained), trained.optimizer),
        objective={name: np.array(p.numpy()) for name, p in trained.objective.named_parameters()},
    )
    for name, values in {**state.weights, **state.objective}.items():
        if not np.isfinite(values).all():
            raise InputError(
                f"weights {name} hold NaN or infinity after step {step}; what was saved "
                "before is kept: lower --learning_rate or add --warmup_steps"
            )
    return state


def put_back(state: TrainingState, trained: Trained) -> None:
    """Make the objects what they were when ``capture`` copied them."""
    trained.model.set_state_dict(state.weights)
    for name, parameter in trained.objective.named_parameters():
        parameter.set_value(state.objective[name])
    set_optimizer_arrays(_parameters(trained), trained.optimizer, state.optimizer)
    trained.metrics_log.rewind(state.step, state.metrics)


def model_arrays(model: nn.Layer) -> Arrays:
    """Copy a model's parameters to arrays, by name."""
    return {name: np.array(value.numpy()) for name, value in model.state_dict().items()}


def optimizer_arrays(
    parameters: Mapping[str, paddle.Tensor], optimizer: paddle.optimizer.Optimizer
) -> Arrays:
    """Copy an optimizer's state to arrays named ``parameter//accumulator``.

    Paddle names accumulators after the order in which layers were made in this process; a later
    process may make them in another.

    Args:
        parameters: what it optimises, by names that do not change.
        optimizer: its state may still be empty.
    """
    ours = {parameter.name: name for name, parameter in parameters.items()}
    arrays = {}
    for key, value in optimizer.state_dict().items():
        # The longest: a parameter p_1 has accumulators p_1_moment1_0, which also begin with p_.
        owner = max((name for name in ours if key.startswith(f"{name}_")), key=len, default=None)
        if owner is not None:
            arrays[f"{ours[owner]}//{key[len(owner) :]}"] = np.array(value.numpy())
    return arrays


def set_optimizer_arrays(
    parameters: Mapping[str, paddle.Tensor],
    optimizer: paddle.optimizer.Optimizer,
    arrays: Arrays,
) -> None:
    """Put back what ``optimizer_arrays`` copied."""
    state = {}
    for key, value in arrays.items():
        name, _, suffix = key.rpartition("//")
        state[parameters[name].name + suffix] = paddle.to_tensor(value)
    optimizer.set_state_dict(state)


def _parameters(trained: Trained) -> dict[str, paddle.Tensor]:
    """Name all that is trained; what the objective owns cannot clash with the model's names."""
    owned = {f"objective//{name}": p for name, p in trained.objective.named_parameters()}
    return {**dict(trained.model.named_parameters()), **owned}
