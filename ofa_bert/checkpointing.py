"""The checkpoints of a run: saving, which are kept, and which one to continue from."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from paddle import nn
from safetensors.numpy import load_file

from ofa_bert.durable import (
    PARTIAL,
    DamagedError,
    check_whole,
    new_directory,
    remove_directory,
)
from ofa_bert.errors import InputError
from ofa_bert.scores import Best
from ofa_bert.training_state import (
    FILES,
    WEIGHTS,
    Arrays,
    Trained,
    capture,
    model_arrays,
    put_back,
    read_description,
    read_state,
)

logger = logging.getLogger(__name__)

STEP, DAMAGED = "step_", "damaged_"
IMPORTANCE, IMPORTANCE_FILE = "importance", "importance.safetensors"
"""A directory of what the weights of all steps are sorted by, and its file: see run_importance."""
NAMES = (*FILES, IMPORTANCE_FILE)


class Checkpoints:
    """The checkpoints of one run: the newest few, and those with the best weights.

    Args:
        directory: where they are kept, made at the first; None keeps the best weights in memory
            and nothing else.
        keep: how many of the newest to keep.
        run: what to note of the run; a checkpoint of another ``id`` is foreign.
    """

    def __init__(
        self, directory: Path | None, keep: int = 2, run: Mapping[str, Any] | None = None
    ) -> None:
        self.directory = directory
        self.keep = keep
        self.run = dict(run or {})
        self._best_in_memory: Arrays | None = None

    @property
    def how_to_continue(self) -> str:
        """Say to someone who stopped the run what to do."""
        if self.directory is None:
            return "nothing is saved"
        return (
            "all is saved; type the same command with --resume (not --overwrite_output_dir) to "
            "continue"
        )

    @property
    def has_steps(self) -> bool:
        """Whether a step was saved, be it damaged by now."""
        return bool(self._steps())

    @property
    def what_is_kept(self) -> str:
        """Say to someone whose run cannot go on what there is of it."""
        steps = self._steps()
        return f"checkpoint {steps[-1][1].name} is kept" if steps else "no checkpoint was saved"

    def save(self, step: int, best: Best, trained: Trained) -> None:
        """Save everything that step ``step + 1`` needs; then remove what is no longer kept.

        Raises:
            InputError: if a weight is NaN or infinite, or the system refuses to write.
        """
        if self.directory is None:
            if best.step == step:
                self._best_in_memory = model_arrays(trained.model)
            return
        state = capture(step, best, trained, self.run)
        try:
            # Not its parents: an output directory that was removed must not come back half.
            self.directory.mkdir(exist_ok=True)
            trained.metrics_log.sync()
            with new_directory(self.directory / f"{STEP}{step}", FILES) as folder:
                state.write(folder)
            self._remove_old()
        except OSError as error:
            raise InputError(
                f"checkpoint of step {step} cannot be written to {self.directory}: "
                f"{error.strerror or error}; what was saved before is kept: mend that, then type "
                "the same command with --resume"
            ) from None

    def newest(self) -> int:
        """Find the step to continue from: the newest whole checkpoint, or 0 where there is none.

        Those that are newer and damaged are named in warnings and set aside.

        Raises:
            InputError: if there are checkpoints and none is whole.
        """
        self._remove_partial()
        damaged: dict[Path, str] = {}
        for step, folder in reversed(self._steps()):
            try:
                self._check(folder)
            except DamagedError as error:
                damaged[folder] = str(error)
                continue
            for newer, what in damaged.items():
                logger.warning("checkpoint %s is not used: %s", newer, what)
                _set_aside(newer)
            return step
        if damaged:
            faults = "; ".join(f"{folder.name}: {what}" for folder, what in damaged.items())
            raise InputError(
                f"no checkpoint in {self.directory} can be used ({faults}); "
                "begin anew with --overwrite_output_dir"
            )
        return 0

    def restore(self, step: int, trained: Trained) -> Best:
        """Continue from the checkpoint of ``step``, or from the start if that is 0."""
        if step == 0 or self.directory is None:
            trained.metrics_log.rewind(0)
            return Best()
        state = read_state(self.directory / f"{STEP}{step}")
        put_back(state, trained)
        logger.info("resumed from step %d", step)
        return state.best

    def load_best(self, best: Best, model: nn.Layer) -> None:
        """Put the best weights into the model.

        Raises:
            InputError: if they are no longer what was saved.
        """
        weights = self._best_in_memory
        if self.directory is not None:
            folder = self.directory / f"{STEP}{best.step}"
            try:
                check_whole(folder)
            except DamagedError as error:
                raise InputError(f"checkpoint {folder}, the best, was changed: {error}") from None
            weights = load_file(folder / WEIGHTS)
        if weights is not None:
            model.set_state_dict(weights)

    def clear(self) -> None:
        """Remove all checkpoints, and the directory unless it holds something else."""
        if self.directory is None or not self.directory.is_dir():
            return
        try:
            for folder in list(self.directory.iterdir()):
                ours = folder.name.startswith((STEP, PARTIAL, DAMAGED))
                if ours or folder.name == IMPORTANCE:
                    remove_directory(folder, NAMES)
            left = sorted(path.name for path in self.directory.iterdir())
            if left:
                logger.warning("%s is left: it holds %s", self.directory, ", ".join(left[:3]))
            else:
                self.directory.rmdir()
        except OSError as error:  # of no use any more: what counts is written
            logger.warning("%s cannot be removed: %s", self.directory, error.strerror or error)

    def _check(self, folder: Path) -> None:
        """Raise ``DamagedError`` unless a run goes on from here as if it had never stopped."""
        check_whole(folder)
        step, best, _, run = read_description(folder)
        if run.get("id") != self.run.get("id"):
            raise DamagedError("it is of another run")
        if best.step not in (0, step):
            holds_best = folder.with_name(f"{STEP}{best.step}")
            try:
                check_whole(holds_best)
            except DamagedError as error:
                raise DamagedError(f"its best weights are in {holds_best.name}: {error}") from None

    def _remove_old(self) -> None:
        """Keep the newest, and of each of them what holds its best weights.

        Without these it could not be gone back to when those after it are damaged.
        """
        kept, needed = self._steps()[-self.keep :], set()
        for step, folder in kept:
            with suppress(DamagedError):
                needed |= {step, read_description(folder)[1].step}
        for step, folder in self._steps()[: -self.keep]:
            if step not in needed:
                remove_directory(folder, FILES)

    def _remove_partial(self) -> None:
        if self.directory is not None and self.directory.is_dir():
            for folder in list(self.directory.glob(f"{PARTIAL}*")):
                remove_directory(folder, NAMES)

    def _steps(self) -> list[tuple[int, Path]]:
        """Give the checkpoints and their steps, oldest first."""
        if self.directory is None or not self.directory.is_dir():
            return []
        found = [
            (int(folder.name.removeprefix(STEP)), folder)
            for folder in self.directory.glob(f"{STEP}*")
            if folder.name.removeprefix(STEP).isdecimal()
        ]
        return sorted(found)


def _set_aside(folder: Path) -> None:
    """Rename a damaged checkpoint, out of the way of the one that will be saved again."""

    def names() -> Iterator[str]:
        yield f"{DAMAGED}{folder.name}"
        yield from (f"{DAMAGED}{folder.name}_{number}" for number in count(2))

    folder.rename(next(p for name in names() if not (p := folder.with_name(name)).exists()))
