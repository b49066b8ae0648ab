"""Elastic attention of some heads, one head at a time in NumPy, and paddle's own at full size."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import layers as L
from tests.ofa.oracles import attend
from tests.ofa.values import close, draw, randomised
from tests.tiny import paddle

nn = paddle.nn


@pytest.mark.parametrize("heads", [1, 2, 5, 6])
def test_attention_of_some_heads(heads):
    layer = randomised(L.SuperMultiHeadAttention(12, 6))
    layer.eval()
    x = draw(2, 4, 12)
    mask = np.where(np.arange(4) < 3, 0.0, -1e4).astype("float32")[None, None, None]
    head_mask = draw(6)
    close(layer(paddle.to_tensor(x), num_heads=heads), attend(layer, x, heads), atol=1e-4)
    out = layer(
        paddle.to_tensor(x),
        attn_mask=paddle.to_tensor(mask),
        num_heads=heads,
        head_mask=paddle.to_tensor(head_mask),
    )
    close(out, attend(layer, x, heads, mask, head_mask), atol=1e-4)


@pytest.mark.parametrize("heads", [2, 6])
def test_masks_of_every_kind_and_per_head(heads):
    layer = randomised(L.SuperMultiHeadAttention(12, 6))
    layer.eval()
    x = draw(2, 4, 12)
    # Each head of each text sees others, and itself.
    seen = (draw(2, 6, 4, 4) > 0) | np.eye(4, dtype=bool)
    added = np.where(seen, 0.0, -1e9).astype("float32")
    results = [
        layer(paddle.to_tensor(x), attn_mask=paddle.to_tensor(mask), num_heads=heads)
        for mask in (added, seen, seen.astype("int64"))
    ]
    close(results[0], attend(layer, x, heads, added))
    np.testing.assert_allclose(results[1].numpy(), results[0].numpy(), atol=1e-6)
    np.testing.assert_allclose(results[2].numpy(), results[0].numpy(), atol=1e-6)


def test_full_attention_is_paddles_with_caches_too():
    plain = nn.MultiHeadAttention(12, 3, kdim=5, vdim=7, need_weights=True)
    layer = L.SuperMultiHeadAttention(12, 3, kdim=5, vdim=7, need_weights=True)
    randomised(plain)
    for name, parameter in layer.named_parameters():
        parameter.set_value(dict(plain.named_parameters())[name.replace(".fn", "")])
    q, k, v = (paddle.to_tensor(draw(2, 4, n)) for n in (12, 5, 7))
    for cache in (None, "static"):
        results = []
        for attention in (plain, layer):
            static = cache and attention.gen_cache(k, v, type=attention.StaticCache)
            results.append(attention(q, k, v, cache=static)[:2])
        for one, other in zip(*results, strict=True):
            close(one, other.numpy(), atol=1e-5)
    plain, layer = nn.MultiHeadAttention(12, 3), L.SuperMultiHeadAttention(12, 3)
    randomised(plain)
    for name, parameter in layer.named_parameters():
        parameter.set_value(dict(plain.named_parameters())[name.replace(".fn", "")])
    results = []
    for attention in (plain, layer):
        cache = attention.gen_cache(q)
        for step in range(3):
            out, cache = attention(q[:, step : step + 1], cache=cache)
        results.append((out, *cache))
    for one, other in zip(*results, strict=True):
        close(one, other.numpy(), atol=1e-5)


def test_more_heads_than_there_are():
    with pytest.raises(InputError, match="num_heads must be 1 to 3; got 4"):
        L.SuperMultiHeadAttention(12, 3)(paddle.ones([1, 2, 12]), num_heads=4)
