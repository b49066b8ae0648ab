"""Data-parallel processes: who am I, start alike, sum the gradients, gather the rows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import paddle

from ofa_bert import runtime
from ofa_bert.errors import LostPeerError
from ofa_bert.places import scratch_directory
from ofa_bert.stopping import Stopped


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0


Terms = dict[str, dict[str, float]]
"""Loss terms of each sub-network, by name."""

Shared = TypeVar("Shared")

ALONE = Ranks()
"""A process that trains by itself."""
LOST = ("gloo", "nccl", "connection")
"""Words in what the libraries say of a process that does not answer."""


def launched_ranks() -> Ranks:
    """Read from the environment which process ``paddle.distributed.launch`` made this one."""
    return Ranks(
        rank=int(os.environ.get("PADDLE_TRAINER_ID", "0")),
        size=int(os.environ.get("PADDLE_TRAINERS_NUM", "1")),
    )


def launched_device(device: str | None, n_gpu: int | None) -> str:
    """Give the device that ``paddle.distributed.launch`` meant for this process.

    The launcher may hide the other processes' GPUs: one is enough.

    Raises:
        InputError: if a device is asked for that is not there.
    """
    wants_gpu = n_gpu != 0 if device is None else device.startswith("gpu")
    if wants_gpu and runtime.count_gpus() > 0:
        kind = "gpu"
    else:
        kind = runtime.choose_device(device, n_gpu)[0].partition(":")[0]
    return kind if kind == "cpu" else f"{kind}:{paddle.distributed.ParallelEnv().device_id}"


def join(ranks: Ranks) -> None:
    """Meet the other processes, if there are any."""
    if ranks.size > 1:
        paddle.distributed.init_parallel_env()


def launch(script: str, argv: Sequence[str], num_processes: int) -> int:
    """Run ``script`` in data-parallel processes, each on a device of its own; give their exit code.

    When one ends with an error, the launcher ends the others. A signal is handed on to all.
    """
    command = [sys.executable, "-u", "-m", "paddle.distributed.launch"]
    # Without --gpus the launcher gives out those that are visible here, first to last.
    command += ["--nproc_per_node", str(num_processes)]
    with scratch_directory("launch") as logs:
        command += ["--log_dir", str(logs), script, *argv]
        # In a session of its own: Ctrl-C in a terminal goes to a whole session, and the workers
        # would take it and the launcher's own signal for two.
        environment = runtime.user_environment()  # our threads are all cores; they share them
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            return process.wait()
        except Stopped:
            process.terminate()
            process.wait()
            raise


@contextmanager
def meeting() -> Iterator[None]:
    """Exchange something with the other processes.

    Raises:
        LostPeerError: if one of them is gone.
    """
    try:
        yield
    except RuntimeError as error:
        said = str(error)
        if not any(word in said.lower() for word in LOST):
            raise
        raise LostPeerError(
            "another process of this run has ended or cannot be reached; its own log says why "
            f"({said.strip().splitlines()[-1]})"
        ) from error


def sum_gradients(parameters: Sequence[paddle.Tensor], ranks: Ranks) -> None:
    """Add up the gradients of all processes in each of them: one message for all parameters.

    A process that has none of a parameter, as one without rows in this step, takes part with
    zeros. A parameter of which no process has one is left without: AdamW passes over it.
    """
    if ranks.size == 1:
        return
    grads = [paddle.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    here = [float(p.grad is not None) for p in parameters]
    flat = paddle.concat([paddle.to_tensor(here), *(grad.flatten() for grad in grads)])
    with meeting():
        paddle.distributed.all_reduce(flat)
    holders, *pieces = paddle.split(flat, [len(parameters), *(p.size for p in parameters)])
    # Read, which waits for the device, only where the answer is not known.
    held = here if all(here) else holders.tolist()
    for parameter, is_held, piece in zip(parameters, held, pieces, strict=True):
        if is_held:
            parameter.grad = piece.reshape(parameter.shape)


def share_parameters(parameters: Sequence[paddle.Tensor], ranks: Ranks) -> None:
    """Give every process the values of the main one."""
    if ranks.size == 1:
        return
    with meeting(), paddle.no_grad():
        for parameter in parameters:
            paddle.distributed.broadcast(parameter, src=0)


def from_main(value: Shared, ranks: Ranks) -> Shared:
    """Give every process what the main one holds; what the others hold is not looked at."""
    values = [value]
    if ranks.size > 1:
        with meeting():
            paddle.distributed.broadcast_object_list(values, src=0)
    return values[0]


def sum_terms(terms: Terms, ranks: Ranks) -> Terms:
    """Add up the loss terms of all processes; each holds its rows' part of the step's mean."""
    if ranks.size == 1:
        return terms
    parts: list[Terms] = []
    with meeting():
        paddle.distributed.all_gather_object(parts, terms)
    total: Terms = {}
    for part in parts:
        for name, values in part.items():
            sums = total.setdefault(name, {})
            for term, value in values.items():
                sums[term] = sums.get(term, 0.0) + value
    return total


def largest(number: int, ranks: Ranks) -> int:
    """Give the largest of the numbers that the processes hold, to each of them."""
    if ranks.size == 1:
        return number
    tensor = paddle.to_tensor([number], dtype="int64")
    with meeting():
        paddle.distributed.all_reduce(tensor, op=paddle.distributed.ReduceOp.MAX)
    return int(tensor.item())


def wait_for_all(ranks: Ranks) -> None:
    """Wait until every process is here."""
    if ranks.size > 1:
        with meeting():
            paddle.distributed.barrier()


def gather_rows(values: np.ndarray, indices: np.ndarray, ranks: Ranks) -> np.ndarray:
    """Put rows computed in different processes back into one array, in every process.

    Args:
        values: ``[rows here, ...]``.
        indices: ``[rows here]``, the place of each among all rows.
        ranks: this process among all.

    Returns:
        ``[all rows, ...]``, each row at its place.
    """
    parts = [(values, indices)]
    if ranks.size > 1:
        parts = []
        with meeting():
            paddle.distributed.all_gather_object(parts, (values, indices))
    gathered = np.concatenate([part for part, _ in parts])
    places = np.concatenate([place for _, place in parts])
    ordered = np.empty_like(gathered)
    ordered[places] = gathered
    return ordered
