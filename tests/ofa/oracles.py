"""Convolutions and attention once more, in NumPy and float64."""

from __future__ import annotations

import numpy as np

from tests.oracles import Weights, softmax, weights_of


def original_weights(model) -> Weights:
    """Give the weights in float64, by the names they had before the model was converted."""
    return {name.replace(".fn", ""): value for name, value in weights_of(model).items()}


def conv(x, weight, bias, *, stride=1, padding=0, dilation=1, groups=1):
    """One output number at a time, float64, NCHW."""
    x = np.pad(x.astype("float64"), [(0, 0), (0, 0), (padding,) * 2, (padding,) * 2])
    (batch, _, height, width), (outputs, inputs, k, _) = x.shape, weight.shape
    rows = (height - dilation * (k - 1) - 1) // stride + 1
    columns = (width - dilation * (k - 1) - 1) // stride + 1
    y = np.zeros([batch, outputs, rows, columns])
    for o in range(outputs):
        first = o // (outputs // groups) * inputs
        for r in range(rows):
            for c in range(columns):
                window = x[
                    :,
                    first : first + inputs,
                    r * stride : r * stride + dilation * (k - 1) + 1 : dilation,
                    c * stride : c * stride + dilation * (k - 1) + 1 : dilation,
                ]
                y[:, o, r, c] = (window * weight[o]).sum((1, 2, 3))
        y[:, o] += 0.0 if bias is None else bias[o]
    return y


def conv_transpose(x, weight, bias, *, stride=1, padding=0, groups=1):
    """Every input number spreads its kernel, ``[inputs, outputs of a group, k, k]``."""
    (batch, inputs, height, width), (_, per_group, k, _) = x.shape, weight.shape
    y = np.zeros([batch, per_group * groups, (height - 1) * stride + k, (width - 1) * stride + k])
    for i in range(inputs):
        group = i // (inputs // groups)
        for r in range(height):
            for c in range(width):
                y[
                    :,
                    group * per_group : (group + 1) * per_group,
                    r * stride : r * stride + k,
                    c * stride : c * stride + k,
                ] += x[:, i, r, c][:, None, None, None] * weight[i][None]
    y = y + bias[None, :, None, None]
    return y[:, :, padding : y.shape[2] - padding, padding : y.shape[3] - padding]


def attend(layer, x, heads, mask=None, head_mask=None):
    """One head at a time; ``mask`` is added, ``[batch, 1 or heads, query_len, key_len]``."""
    w = original_weights(layer)
    dim, contexts = layer.head_dim, []
    for head in range(heads):
        at = slice(head * dim, (head + 1) * dim)
        q, k, v = (
            x @ w[f"{n}_proj.weight"][: x.shape[-1], at] + w[f"{n}_proj.bias"][at] for n in "qkv"
        )
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(dim)
        if mask is not None:
            scores = scores + mask[:, head if mask.shape[1] > 1 else 0]
        contexts.append(softmax(scores) @ v * (1.0 if head_mask is None else head_mask[head]))
    context = np.concatenate(contexts, -1)
    return context @ w["out_proj.weight"][: heads * dim] + w["out_proj.bias"]
