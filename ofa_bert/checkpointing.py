"""Saving a run while it trains, resuming it, and going back to its best weights."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ofa_bert.errors import InputError
from ofa_bert.scores import Best

logger = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]
STATE, WEIGHTS, OPTIMIZER = "state.json", "model.safetensors", "optimizer.safetensors"


class Checkpoints:
    """The checkpoints of one run: the newest few, and the best weights.

    Args:
        directory: where they are kept; None keeps the best weights in memory and no others.
        keep: how many of the newest to keep.
    """

    def __init__(self, directory: Path | None, keep: int = 2) -> None:
        self.directory = directory
        self.keep = keep
        self._best_in_memory: Arrays | None = None

    def save(
        self,
        step: int,
        model: nn.Layer,
        optimizer: paddle.optimizer.Optimizer,
        best: Best,
        *,
        is_best: bool,
    ) -> None:
        """Save everything that step ``step + 1`` needs, and the weights again if they are best."""
        weights = model_arrays(model)
        if self.directory is None:
            if is_best:
                self._best_in_memory = weights
            return
        if is_best:
            # Under the step's own name: a kill between the two writes must not leave newer best
            # weights than the state that speaks of them.
            self._write(f"best_{step}", {WEIGHTS: weights}, best)
        files = {WEIGHTS: weights, OPTIMIZER: optimizer_arrays(model, optimizer)}
        self._write(f"step_{step}", files, best)
        self._remove_old(best)

    def restore(self, model: nn.Layer, optimizer: paddle.optimizer.Optimizer) -> tuple[int, Best]:
        """Continue from the newest checkpoint: give its step and best scores, or step 0.

        Raises:
            InputError: if the newest checkpoint cannot be read.
        """
        steps = self._numbered("step_")
        if not steps:
            return 0, Best()
        step, folder = steps[-1]
        try:
            state = json.loads((folder / STATE).read_text(encoding="utf-8"))
            weights, accumulators = load_file(folder / WEIGHTS), load_file(folder / OPTIMIZER)
        except (OSError, ValueError, SafetensorError) as error:
            raise InputError(
                f"checkpoint {folder} cannot be read: {error}; delete it to resume from the one "
                "before"
            ) from None
        model.set_state_dict(weights)
        set_optimizer_arrays(model, optimizer, accumulators)
        logger.info("resumed from step %d", step)
        return step, Best(**state["best"])

    def load_best(self, model: nn.Layer) -> None:
        """Put the best weights into the model."""
        best = self._numbered("best_")
        weights = load_file(best[-1][1] / WEIGHTS) if best else self._best_in_memory
        if weights is not None:
            model.set_state_dict(weights)

    def clear(self) -> None:
        """Remove all checkpoints."""
        if self.directory is not None and self.directory.exists():
            shutil.rmtree(self.directory)

    def _write(self, name: str, files: dict[str, Arrays], best: Best) -> None:
        """Write a checkpoint beside its place, then rename: it is there whole or not at all."""
        assert self.directory is not None
        self.directory.mkdir(parents=True, exist_ok=True)
        target, partial = self.directory / name, self.directory / f"partial_{name}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for file_name, arrays in files.items():
            save_file(arrays, partial / file_name)
        state: dict[str, Any] = {"best": best.to_dict()}
        (partial / STATE).write_text(json.dumps(state), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)

    def _remove_old(self, best: Best) -> None:
        for _, folder in self._numbered("step_")[: -self.keep]:
            shutil.rmtree(folder)
        for step, folder in self._numbered("best_"):
            if step != best.step:
                shutil.rmtree(folder)

    def _numbered(self, prefix: str) -> list[tuple[int, Path]]:
        if self.directory is None or not self.directory.exists():
            return []
        found = [
            (int(folder.name[len(prefix) :]), folder)
            for folder in self.directory.iterdir()
            if folder.name.startswith(prefix) and folder.name[len(prefix) :].isdigit()
        ]
        return sorted(found)


def model_arrays(model: nn.Layer) -> Arrays:
    """Copy a model's parameters to arrays, by name."""
    return {name: np.array(value.numpy()) for name, value in model.state_dict().items()}


def optimizer_arrays(model: nn.Layer, optimizer: paddle.optimizer.Optimizer) -> Arrays:
    """Copy an optimizer's state to arrays named ``parameter//accumulator``.

    Paddle names accumulators after the order in which layers were made in this process; a later
    process may make them in another.
    """
    state = optimizer.state_dict()
    arrays = {}
    for name, parameter in model.named_parameters():
        for key, value in state.items():
            if key.startswith(f"{parameter.name}_"):
                arrays[f"{name}//{key[len(parameter.name) :]}"] = np.array(value.numpy())
    return arrays


def set_optimizer_arrays(
    model: nn.Layer, optimizer: paddle.optimizer.Optimizer, arrays: Arrays
) -> None:
    """Put back what ``optimizer_arrays`` copied."""
    names = {name: parameter.name for name, parameter in model.named_parameters()}
    state = {}
    for key, value in arrays.items():
        name, _, suffix = key.partition("//")
        state[names[name] + suffix] = paddle.to_tensor(value)
    optimizer.set_state_dict(state)
