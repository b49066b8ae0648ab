"""A static graph, loaded in Paddle Inference in the way that is fastest for a batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
from paddle import inference

from ofa_bert.checkpoint.files import reason
from ofa_bert.deploy import EXPORT_HINT, GRAPH_FILE, INPUT_NAMES, PARAMS_FILE
from ofa_bert.errors import InputError, nearest
from ofa_bert.rules import require
from ofa_bert.runtime import mkl_is_fast, usable_cores

PRECISIONS = ("fp32", "bf16")
MKL_IDS, KEPT_BUFFERS_IDS = 64, 128
"""Batches of so many ids at most run by MKL's products on one thread, and on kept buffers."""
FREE_BUFFERS_FLAG = "FLAGS_eager_delete_tensor_gb"


@dataclass(frozen=True)
class Way:
    """How a graph is run. The answers are the same."""

    onednn: bool
    """Whether operations are oneDNN's: faster ones, but each takes some 0.04 ms to prepare."""
    keep_buffers: bool
    """Whether buffers are kept for the next call.

    Otherwise paddle hands each of them to another thread to be freed as soon as it has been read.
    For a short text that takes a quarter of the CPU time; for a large batch it saves most memory.
    """


def fastest_way(num_ids: int, precision: str = "fp32", num_threads: int = 1) -> Way:
    """Choose how to run a batch of ``num_ids`` ids, padding included.

    The ways meet at 64 ids on one thread and at 32 on two: oneDNN's arithmetic gains more from
    threads, and what it takes to prepare an operation does not.
    """
    use_mkl = num_ids * num_threads <= MKL_IDS and precision == "fp32" and mkl_is_fast()
    return Way(onednn=not use_mkl, keep_buffers=num_ids <= KEPT_BUFFERS_IDS)


class Executor:
    """A loaded graph and its handles."""

    def __init__(self, graph: inference.Predictor, keep_buffers: bool) -> None:
        """Take over a graph that has not run yet: its first run settles what it does."""
        self._graph = graph
        self._inputs = [graph.get_input_handle(name) for name in INPUT_NAMES]
        self._output = graph.get_output_handle(graph.get_output_names()[0])
        if keep_buffers:
            one_id = np.zeros((1, 1), "int64")
            with _kept_buffers():
                self.run(one_id, one_id)

    def run(self, input_ids: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
        """Map checked ids ``[batch, seq_len]`` to float32 logits ``[batch, num_classes]``."""
        for handle, ids in zip(self._inputs, (input_ids, token_type_ids), strict=True):
            handle.copy_from_cpu(np.ascontiguousarray(ids, dtype="int64"))
        self._graph.run()
        return np.array(self._output.copy_to_cpu())


@contextmanager
def _kept_buffers() -> Iterator[None]:
    """Let graphs that run for the first time keep their buffers; the flag is as before after it."""
    before = paddle.get_flags(FREE_BUFFERS_FLAG)
    paddle.set_flags({FREE_BUFFERS_FLAG: -1.0})
    try:
        yield
    finally:
        paddle.set_flags(before)


def check_precision(precision: str) -> None:
    """Raise ``InputError`` if ``precision`` is unknown or this CPU cannot compute in it."""
    require(
        precision in PRECISIONS,
        f"precision {precision!r} is unknown; {nearest(precision, PRECISIONS)}",
    )
    # Paddle would fall back to fp32 and say so in its log alone.
    require(
        precision != "bf16" or paddle.base.core.supports_bfloat16(),
        "precision must be one this CPU computes in; got 'bf16', which needs AVX-512; "
        "use precision='fp32'",
    )


def default_threads() -> int:
    """Give MKL_NUM_THREADS where it is set, as ``import ofa_bert`` does, else all usable cores.

    Not OMP_NUM_THREADS: paddle's import sets it to 1 where nobody else did.
    """
    asked = os.environ.get("MKL_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else usable_cores()


def load_graph(
    directory: Path, precision: str, num_threads: int, *, onednn: bool
) -> inference.Predictor:
    """Give Paddle Inference's predictor with the settings that measured fastest."""
    config = inference.Config(str(directory / GRAPH_FILE), str(directory / PARAMS_FILE))
    config.disable_gpu()
    config.disable_glog_info()
    # Paddle Inference has its own count, 1 unless told, whatever the environment says.
    config.set_cpu_math_library_num_threads(num_threads)
    if onednn:
        config.enable_mkldnn()
    else:
        config.disable_mkldnn()
    if precision == "bf16":
        config.enable_mkldnn_bfloat16()
    config.enable_new_ir(True)
    # Without the new executor the memory planner fails: "Not find predictor_id 0".
    config.enable_new_executor(True)
    config.enable_memory_optim()
    if not onednn:
        # A product and the sum with its bias become one operation; oneDNN's own passes do that.
        config.enable_custom_passes(["matmul_add_act_fuse_pass"])
    try:
        return inference.create_predictor(config)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise InputError(
            f"{directory / GRAPH_FILE} cannot be loaded by Paddle Inference: {reason(error)}; "
            f"{EXPORT_HINT}"
        ) from None
