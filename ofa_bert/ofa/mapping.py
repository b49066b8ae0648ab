"""Distillation of the layers inside: what is put on a student's output, and the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn

from ofa_bert.errors import InputError
from ofa_bert.ofa.layers_base import Block
from ofa_bert.ofa.outputs import named_layers
from ofa_bert.ofa.super_conv import SuperConv2D
from ofa_bert.ofa.super_linear import SuperLinear
from ofa_bert.rules import require

Loss = Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor]


def mapping_ops(
    student: nn.Layer, teacher: nn.Layer, names: Sequence[str], op: str | None
) -> dict[str, nn.Layer | None]:
    """Make, for each mapped layer, what takes the student's width to the teacher's.

    It takes any prefix of the student's full width, so one does for every sub-network.

    Args:
        student: the network that learns.
        teacher: the network that answers.
        names: of the mapped layers.
        op: ``conv2d``, ``linear`` or None.

    Raises:
        InputError: if a layer is not there, or how wide it is cannot be known.
    """
    students = named_layers(student, names, "mapping_layers")
    teachers = named_layers(teacher, names, "mapping_layers (teacher)")
    if op is None:
        return dict.fromkeys(names)
    ops: dict[str, nn.Layer | None] = {}
    for name in names:
        inputs, outputs = width_of(students[name]), width_of(teachers[name])
        if inputs is None or outputs is None:
            raise InputError(
                f"mapping_layers: how many outputs {name} has cannot be read from it; "
                "name a convolution, linear layer or norm in it, or set mapping_op=None"
            )
        ops[name] = (
            SuperConv2D(inputs, outputs, 1) if op == "conv2d" else SuperLinear(inputs, outputs)
        )
    return ops


def width_of(layer: nn.Layer) -> int | None:
    """Read how many outputs a layer has, of a composite one from its last layer that tells."""
    layer = layer.fn if isinstance(layer, Block) else layer
    if isinstance(layer, nn.Conv2D | nn.Conv2DTranspose):
        return int(layer._out_channels)
    if isinstance(layer, nn.Linear | nn.Embedding):
        return int(layer.weight.shape[1])
    weight = getattr(layer, "weight", None)
    if isinstance(weight, paddle.Tensor) and weight.ndim == 1:
        return int(weight.shape[0])
    for inner in reversed(list(layer.children())):
        if (width := width_of(inner)) is not None:
            return width
    return None


def mapped_loss(
    student: Mapping[str, paddle.Tensor],
    teacher: Mapping[str, paddle.Tensor],
    ops: Mapping[str, nn.Layer | None],
    loss: Loss | None,
    token_mask: paddle.Tensor | None,
) -> paddle.Tensor:
    """Sum the losses of the mapped layers that both networks ran.

    Args:
        student: outputs by layer.
        teacher: likewise.
        ops: what is put on each of the student's.
        loss: of the two, of any shapes; None: the mean of squared differences, of one shape.
        token_mask: ``[batch, seq_len]``, 1 where a position counts; the outputs are then
            ``[batch, seq_len, width]``. None: all count.

    Raises:
        InputError: if none ran, or an output does not have its teacher's shape.
    """
    names = [name for name in ops if name in student and name in teacher]
    require(bool(names), f"none of the mapping_layers ran; got {', '.join(ops)}")
    total = 0.0
    for name in names:
        op, ours, theirs = ops[name], student[name], teacher[name]
        ours = ours if op is None else op(ours)
        require(
            loss is not None or ours.shape == theirs.shape,
            f"mapping_layers: {name} gives {list(ours.shape)} here and {list(theirs.shape)} in the "
            "teacher; set mapping_op='conv2d' or 'linear', or map a layer of one width",
        )
        if token_mask is not None:
            seen = token_mask.astype(ours.dtype).unsqueeze(-1)
            if loss is None:
                squares = ((ours - theirs) * seen).square().sum()
                total = total + squares / (seen.sum() * ours.shape[-1])
                continue
            ours, theirs = ours * seen, theirs * seen
        total = total + (loss or F.mse_loss)(ours, theirs)
    return total
