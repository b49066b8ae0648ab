"""Budgets in parameters, multiply-accumulates and milliseconds, as conditions of a search.

What counts is the sub-network itself: ``network_at(config)`` gives it as a plain network, e.g.
``lambda config: ofa_model.export(config)``.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ofa_bert.errors import InputError
from ofa_bert.nn.mode import evaluating
from ofa_bert.ofa.trace import Operation, Shape, Trace, call, trace

NetworkAt = Callable[[dict[str, Any]], nn.Layer]
CONVOLUTIONS = {"pd_op.conv2d", "pd_op.depthwise_conv2d", "pd_op.conv3d"}
TRANSPOSED = {
    "pd_op.conv2d_transpose",
    "pd_op.conv2d_transpose_bias",
    "pd_op.depthwise_conv2d_transpose",
    "pd_op.conv3d_transpose",
}
PRODUCTS = {"pd_op.matmul", "pd_op.bmm"}
OTHER_PRODUCTS = (
    "if while rnn lstm cudnn_lstm gru gru_unit einsum bilinear addmm baddbmm mv dot multi_dot "
    "matrix_power linear linear_v2 batched_gemm gemm_epilogue fused_gemm_epilogue "
    "weight_only_linear llm_int8_linear fused_feedforward fused_attention sparse_attention "
    "flash_attn flash_attn_qkvpacked flash_attn_unpadded flash_attn_varlen_qkvpacked "
    "flashmask_attention memory_efficient_attention fused_dot_product_attention "
    "variable_length_memory_efficient_attention deformable_conv depthwise_conv2d_bias "
    "depthwise_conv3d_bias correlation"
)
NOT_COUNTED = {f"pd_op.{name}" for name in OTHER_PRODUCTS.split()}
"""Operations with products inside; a count without them would be wrong."""


@dataclass(frozen=True)
class Budget:
    """A limit on what a configuration costs. Called with one, it says whether it is kept."""

    measure: Callable[[dict[str, Any]], float]
    """Cost of a configuration."""
    limit: float
    """The most it may cost."""
    unit: str
    """What is counted, in the plural."""

    def __call__(self, config: dict[str, Any]) -> bool:
        """Tell whether a configuration costs no more than the limit."""
        return self.measure(config) <= self.limit

    def __str__(self) -> str:
        return f"at most {self.limit:g} {self.unit}"


def within_params(limit: float, network_at: NetworkAt) -> Budget:
    """Allow sub-networks of at most ``limit`` parameters."""
    return Budget(lambda config: count_params(network_at(config)), limit, "parameters")


def within_macs(limit: float, network_at: NetworkAt, inputs: Any) -> Budget:
    """Allow sub-networks of at most ``limit`` multiply-accumulates on ``inputs``."""
    return Budget(lambda config: count_macs(network_at(config), inputs), limit, "MACs")


def within_latency(
    limit_ms: float, network_at: NetworkAt, inputs: Any, *, runs: int = 30, warmup: int = 5
) -> Budget:
    """Allow sub-networks whose forward takes at most ``limit_ms`` milliseconds here."""
    return Budget(
        lambda config: measure_latency_ms(network_at(config), inputs, runs, warmup),
        limit_ms,
        "milliseconds",
    )


def count_params(network: nn.Layer) -> int:
    """Count parameters, shared ones once; running statistics are none."""
    # Paddle keeps the running statistics of BatchNorm among the parameters.
    counted = {
        id(parameter): parameter.size
        for layer in network.sublayers(include_self=True)
        for name, parameter in layer._parameters.items()
        if parameter is not None and name not in ("_mean", "_variance")
    }
    return sum(counted.values())


def count_macs(network: nn.Layer, inputs: Any) -> int:
    """Count the multiply-accumulates of one forward, from the network's own program.

    Convolutions and matrix products only, those of attention included. The batch counts: give one
    of 1 for the cost of one example.

    Args:
        network: as it runs now; left as it is.
        inputs: as for ``ofa_bert.ofa.trace.trace``: tensors, arrays or ``InputSpec``.

    Raises:
        InputError: if the network cannot be traced, or holds products that are not counted.
    """
    program = trace(network, inputs)
    return sum(_macs(op, program) for op in program.operations)


def _macs(op: Operation, program: Trace) -> int:
    if op.name in NOT_COUNTED:
        raise InputError(
            f"count_macs does not know {op.name}, which this network runs; "
            "count it yourself and give the search a condition of your own"
        )
    if op.name not in CONVOLUTIONS | TRANSPOSED | PRODUCTS:
        return 0
    x, y, result = (_shape(program, value) for value in (*op.operands[:2], op.results[0]))
    if op.name in PRODUCTS:
        transposed = op.attributes.get("transpose_x") and len(x) > 1
        return math.prod(result) * x[-2 if transposed else -1]
    # A transposed convolution spreads each input; a plain one gathers for each output.
    return math.prod(x if op.name in TRANSPOSED else result) * math.prod(y[1:])


def _shape(program: Trace, value: str | None) -> Shape:
    return tuple(program.shapes[str(value)])  # type: ignore[arg-type]


def measure_latency_ms(network: nn.Layer, inputs: Any, runs: int = 30, warmup: int = 5) -> float:
    """Measure the median time of one forward in eval mode without gradient, in milliseconds.

    Args:
        network: its modes are the same afterwards.
        inputs: a tuple or list is the arguments of forward, a dict its arguments by name, anything
            else its only argument; ``InputSpec`` stand for zeros.
        runs: forwards timed.
        warmup: forwards before them.
    """
    given = paddle.utils.map_structure(_tensor, inputs)
    times_ms = []
    with evaluating(network), paddle.no_grad():
        for run in range(warmup + runs):
            start = time.perf_counter()
            call(network, given)
            if run >= warmup:
                times_ms.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times_ms)


def _tensor(leaf: Any) -> Any:
    if isinstance(leaf, paddle.static.InputSpec):
        return paddle.zeros(leaf.shape, leaf.dtype)
    return paddle.to_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf
