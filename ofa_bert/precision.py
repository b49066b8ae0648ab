"""The precision of training's matrix products: bf16 where the device computes in it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import paddle

from ofa_bert.nn.bert import ModelOutput
from ofa_bert.rules import require


def check_training_precision(precision: str) -> None:
    """Refuse bf16 on a CPU, where paddle's auto_cast would compute in fp32 and only warn.

    Args:
        precision: ``fp32`` or ``bf16``.

    Raises:
        InputError: if it is another, or the current device does not train in it.
    """
    require(precision in ("fp32", "bf16"), f"precision must be fp32 or bf16; got {precision!r}")
    device = paddle.device.get_device()
    require(
        precision == "fp32" or not device.startswith("cpu"),
        f"precision {precision} trains on a GPU; got device {device}, where paddle has no such "
        "products: pass --precision fp32 (an exported graph can run in bf16 on a CPU: predict "
        "--precision bf16)",
    )


def forward_in(precision: str) -> AbstractContextManager[None]:
    """Run forwards in a precision; weights, their gradients and the optimizer stay in fp32."""
    if precision == "fp32":
        return nullcontext()
    return paddle.amp.auto_cast(level="O1", dtype="bfloat16")


def in_float32(output: ModelOutput) -> ModelOutput:
    """Give what losses are computed from in fp32; tensors that are so already are not copied."""
    if output.logits.dtype == paddle.float32:
        return output
    return ModelOutput(
        output.logits.astype("float32"),
        tuple(state.astype("float32") for state in output.hidden_states),
        output.ffn_activations,
    )
