"""Engines that answer with a sub-model's logits, each run in a process of its own.

    python -m benchmarks.engines ENGINE DIRECTORY THREADS

serves ``inference.py``. Imports neither paddle nor ofa_bert's paddle side by itself, so that torch
and OpenVINO may live in another environment.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import cpu_model, serve

Logits = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``input_ids`` and ``token_type_ids`` to logits."""

GRAPH, ONNX, INT8, OURS = "graph", "model.onnx", "model_int8.onnx", "ours"
"""Names within a directory of files; ``OURS`` is a directory of ``export_static``."""


def ours(directory: Path, threads: int) -> Logits:
    """Our predictor."""
    return _ours(directory, threads, "fp32")


def ours_bf16(directory: Path, threads: int) -> Logits:
    """Our predictor in bf16."""
    return _ours(directory, threads, "bf16")


def _ours(directory: Path, threads: int, precision: str) -> Logits:
    from ofa_bert import runtime

    runtime.prepare()
    from ofa_bert.predictor import Predictor

    return Predictor(directory / OURS, precision=precision, num_threads=threads).logits


def paddle_plain(directory: Path, threads: int) -> Logits:
    """Paddle Inference as its documents' Python example shows it, with our count of threads.

    The example leaves the count at 1; it gets the same number as the others here.
    """
    from paddle import inference

    config = inference.Config(
        str(directory / f"{GRAPH}.json"), str(directory / f"{GRAPH}.pdiparams")
    )
    config.disable_gpu()
    config.set_cpu_math_library_num_threads(threads)
    predictor = inference.create_predictor(config)
    inputs = [predictor.get_input_handle(name) for name in predictor.get_input_names()]
    output = predictor.get_output_handle(predictor.get_output_names()[0])

    def logits(input_ids: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
        for handle, ids in zip(inputs, (input_ids, token_type_ids), strict=True):
            handle.reshape(ids.shape)
            handle.copy_from_cpu(ids)
        predictor.run()
        return output.copy_to_cpu()

    return logits


def onnxruntime_fp32(directory: Path, threads: int) -> Logits:
    """ONNX Runtime."""
    return _onnxruntime(directory / ONNX, threads)


def onnxruntime_int8(directory: Path, threads: int) -> Logits:
    """ONNX Runtime on weights quantised to int8."""
    return _onnxruntime(directory / INT8, threads)


def _onnxruntime(path: Path, threads: int) -> Logits:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def logits(input_ids: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
        feed = {"input_ids": input_ids, "token_type_ids": token_type_ids}
        return session.run(None, feed)[0]

    return logits


def openvino_fp32(directory: Path, threads: int) -> Logits:
    """OpenVINO on the same ONNX file."""
    return _openvino(directory, threads, "f32")


def openvino_bf16(directory: Path, threads: int) -> Logits:
    """OpenVINO in bf16."""
    _require_bf16()
    return _openvino(directory, threads, "bf16")


def _openvino(directory: Path, threads: int, precision: str) -> Logits:
    import openvino

    options = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = openvino.Core().compile_model(directory / ONNX, "CPU", options)

    def logits(input_ids: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
        return model({"input_ids": input_ids, "token_type_ids": token_type_ids})[0]

    return logits


def torch_eager(directory: Path, threads: int) -> Logits:
    """PyTorch, eager."""
    import torch

    from benchmarks import torch_bert

    torch.set_num_threads(threads)
    return torch_bert.load(directory)


def torch_bf16(directory: Path, threads: int) -> Logits:
    """PyTorch, eager, autocast to bf16."""
    _require_bf16()
    import torch

    eager = torch_eager(directory, threads)

    def logits(input_ids: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16):
            return eager(input_ids, token_type_ids)

    return logits


ENGINES: dict[str, Callable[[Path, int], Logits]] = {
    "ours": ours,
    "ours bf16": ours_bf16,
    "Paddle Inference as documented": paddle_plain,
    "ONNX Runtime": onnxruntime_fp32,
    "ONNX Runtime int8": onnxruntime_int8,
    "OpenVINO": openvino_fp32,
    "OpenVINO bf16": openvino_bf16,
    "PyTorch": torch_eager,
    "PyTorch bf16": torch_bf16,
}


PEER_ENGINES = ("OpenVINO", "OpenVINO bf16", "PyTorch", "PyTorch bf16")
"""Those of ``benchmarks/requirements.txt``."""


def token_ids(vocab_size: int, rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw ids and segments, int64 ``[rows, length]``: the first row full, others end in padding.

    The same numbers for the same arguments, in every process.
    """
    generator = np.random.default_rng([rows, length])
    lengths = generator.integers(length * 3 // 4, length + 1, (rows, 1))
    lengths[0] = length
    mask = np.arange(length) < lengths
    input_ids = generator.integers(5, vocab_size, (rows, length)) * mask
    token_type_ids = (np.arange(length) >= lengths // 2) * mask
    return input_ids, token_type_ids.astype("int64")


def time_within(function: Callable[[], Any], budget: float) -> list[float]:
    """Time calls for some seconds, at least one and at most 50, after one that is not timed."""
    function()
    seconds: list[float] = []
    while not seconds or (sum(seconds) < budget and len(seconds) < 50):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return seconds


def _require_bf16() -> None:
    if "bf16" not in cpu_model():
        raise RuntimeError("this CPU has no bf16 instructions")


def main(engine: str, directory: str, threads: str) -> None:
    """Serve one engine: it answers with seconds where a budget is given, else with logits."""
    logits: Logits | None = None

    def answer(vocab_size: int = 0, shape: tuple[int, int] = (0, 0), budget: float = 0.0) -> Any:
        nonlocal logits
        if logits is None:
            logits = ENGINES[engine](Path(directory), int(threads))
        if not vocab_size:
            return None
        ids = token_ids(vocab_size, *shape)
        return time_within(lambda: logits(*ids), budget) if budget else logits(*ids).tolist()

    serve(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
