"""Which rule each operation of a program follows. One that is not here fixes all it touches."""

from __future__ import annotations

from ofa_bert.ofa import layer_rules as layers
from ofa_bert.ofa import shape_rules as shapes
from ofa_bert.ofa.operands import Rule, apart

# Softmax and running sums are no functions of one element, but a prefix of the input gives them
# all they need for a prefix of the output.
POINTWISE = (
    "relu relu6 gelu sigmoid tanh silu swish hardswish hardsigmoid hardtanh hardshrink "
    "softshrink leaky_relu elu celu selu mish softplus softsign tanh_shrink thresholded_relu "
    "logsigmoid stanh exp expm1 log log1p log2 log10 sqrt rsqrt square abs sign floor ceil round "
    "erf sin cos tan reciprocal pow scale cast clip assign share_data full_like dropout softmax "
    "log_softmax cumsum isnan isinf isfinite logical_not bitwise_not"
)
ELEMENTWISE = (
    "add subtract multiply divide maximum minimum fmax fmin elementwise_pow floor_divide "
    "remainder equal not_equal greater_than greater_equal less_than less_equal logical_and "
    "logical_or logical_xor where add_n"
)
NAMES: list[tuple[Rule, str]] = [
    (layers.pointwise, POINTWISE),
    (layers.elementwise, ELEMENTWISE),
    (layers.matmul, "matmul bmm"),
    (layers.convolution, "conv2d depthwise_conv2d conv3d"),
    (layers.transposed_convolution, "conv2d_transpose conv2d_transpose_bias conv3d_transpose"),
    (layers.transposed_convolution, "depthwise_conv2d_transpose"),
    (layers.over_channels, "batch_norm sync_batch_norm instance_norm prelu"),
    (layers.grouped_norm, "group_norm"),
    (layers.layer_norm, "layer_norm"),
    (layers.over_space, "pool2d pool3d max_pool2d_with_index pad3d nearest_interp linear_interp"),
    (layers.over_space, "bilinear_interp bicubic_interp trilinear_interp"),
    (layers.reduction, "mean sum max min prod amax amin any all argmax argmin logsumexp"),
    (layers.embedding, "embedding"),
    (shapes.transpose, "transpose"),
    (shapes.reshape, "reshape"),
    (shapes.reorganise, "flatten squeeze unsqueeze"),
    (shapes.concatenate, "concat"),
    (shapes.stack, "stack"),
    (shapes.split, "split split_with_num"),
    (shapes.unbind, "unbind"),
    (shapes.pick, "slice strided_slice"),
    (shapes.put, "set_value set_value_with_tensor"),
    (shapes.expand, "expand"),
    (shapes.expand_as, "expand_as"),
    (shapes.tile, "tile"),
    (shapes.gather, "gather"),
    (apart, "shape64 shape numel"),
]
RULES: dict[str, Rule] = {f"pd_op.{name}": rule for rule, names in NAMES for name in names.split()}
