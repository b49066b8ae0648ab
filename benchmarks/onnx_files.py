"""The ONNX files of a static graph: fp32, and dynamic int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_onnx(graph: Path, path: Path) -> None:
    """Convert a graph that ``paddle.jit.save`` wrote, ``graph.json`` and ``graph.pdiparams``."""
    import onnx
    import paddle2onnx

    # optimize_tool: the default installs packages and takes 20 s.
    paddle2onnx.export(
        f"{graph}.json", f"{graph}.pdiparams", str(path), opset_version=17, optimize_tool="None"
    )
    model = onnx.load(path)
    constants_to_initializers(model)
    onnx.save(model, path)


def constants_to_initializers(model: Any) -> int:
    """Move tensors of Constant nodes to initializers, where the quantiser looks for weights.

    Returns:
        How many were moved.
    """
    constants = [node for node in model.graph.node if node.op_type == "Constant"]
    for node in constants:
        tensor = next(a.t for a in node.attribute if a.name == "value")
        tensor.name = node.output[0]
        model.graph.initializer.append(tensor)
        model.graph.node.remove(node)
    return len(constants)


def write_int8(fp32: Path, path: Path) -> None:
    """Quantise weights to int8; activations are quantised as they come.

    Raises:
        RuntimeError: if the file is no smaller, that is, if nothing was quantised.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(fp32, path, weight_type=QuantType.QInt8)
    before, after = (file.stat().st_size for file in (fp32, path))
    if after > 0.5 * before:
        raise RuntimeError(f"int8 file must be half of {before} bytes at most; got {after}")
