"""Elastic multi-head attention: any number of its first heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from ofa_bert.ofa.active import head_mask_of, sizes_of
from ofa_bert.ofa.layers_base import Block
from ofa_bert.ofa.super_linear import SuperLinear
from ofa_bert.ofa.takeover import take_over
from ofa_bert.ofa.widths import Candidates, out_count, sorted_candidates
from ofa_bert.rules import require

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")


def elastic_linear_block(layer: nn.Linear, candidates: Candidates) -> Block:
    """Wrap a linear layer, with its own parameters, as an elastic one."""
    elastic = take_over(layer, SuperLinear)
    elastic.candidate_config = candidates
    return Block(elastic, key=layer.full_name())


class SuperMultiHeadAttention(nn.MultiHeadAttention):
    """``paddle.nn.MultiHeadAttention`` of which any number of first heads can be used.

    The number is an argument, or else that of ``q_proj`` in the active configuration, which counts
    in whole heads: 0.67 of 12 are 8. A head keeps its width, so the scale of the scores stays.

    Args:
        embed_dim: width of the queries.
        num_heads: largest number of heads.
        dropout: of the attention probabilities.
        kdim: width of the keys' source; default ``embed_dim``.
        vdim: width of the values' source; default ``embed_dim``.
        need_weights: return the attention probabilities too.
        weight_attr: as in ``paddle.nn.MultiHeadAttention``.
        bias_attr: likewise.
        candidate_config: choices of ``expand_ratio`` or ``channel`` of the heads.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        kdim: int | None = None,
        vdim: int | None = None,
        need_weights: bool = False,
        weight_attr: Any = None,
        bias_attr: Any = None,
        candidate_config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            embed_dim, num_heads, dropout, kdim, vdim, need_weights, weight_attr, bias_attr
        )
        for name in PROJECTIONS:
            candidates = sorted_candidates(None if name == "out_proj" else candidate_config)
            setattr(self, name, elastic_linear_block(getattr(self, name), candidates))

    def kept_heads(self) -> int:
        """Count the heads that the active configuration keeps.

        Raises:
            InputError: if ``channel`` is no whole number of heads.
        """
        sizes = sizes_of(self.q_proj)
        return (
            out_count(
                self.num_heads * self.head_dim,
                self.q_proj.fn.candidate_config,
                sizes.get("expand_ratio"),
                sizes.get("channel"),
                self.head_dim,
            )
            // self.head_dim
        )

    def forward(
        self,
        query: paddle.Tensor,
        key: paddle.Tensor | None = None,
        value: paddle.Tensor | None = None,
        attn_mask: paddle.Tensor | None = None,
        cache: Any = None,
        num_heads: int | None = None,
        head_mask: paddle.Tensor | None = None,
    ) -> Any:
        """Attend, as ``paddle.nn.MultiHeadAttention`` does, with the first heads.

        Args:
            query: ``[batch, query_len, embed_dim]`` or a prefix of that width.
            key: ``[batch, key_len, kdim]``; default ``query``.
            value: ``[batch, key_len, vdim]``; default ``query``.
            attn_mask: broadcasts to ``[batch, num_heads, query_len, key_len]``; False or 0 is not
                seen where it is bool or int, added to the scores where it is float.
            cache: as in ``paddle.nn.MultiHeadAttention``.
            num_heads: how many of the first heads; default the active configuration's.
            head_mask: ``[num_heads]``, multiplies the attention probabilities of each head;
                default the one that is active.

        Returns:
            ``[batch, query_len, embed_dim]``, in a tuple with the attention probabilities if
            ``need_weights`` and with the new cache if there is a cache.
        """
        key = query if key is None else key
        value = query if value is None else value
        heads = self.kept_heads() if num_heads is None else num_heads
        require(
            1 <= heads <= self.num_heads,
            f"num_heads must be 1 to {self.num_heads}; got {heads}",
        )
        q = self._split(self.q_proj, query, heads)
        if isinstance(cache, self.StaticCache):
            k, v = cache.k, cache.v
        else:
            k, v = self._split(self.k_proj, key, heads), self._split(self.v_proj, value, heads)
        if isinstance(cache, self.Cache):
            k, v = paddle.concat([cache.k, k], axis=2), paddle.concat([cache.v, v], axis=2)
            cache = self.Cache(k, v)

        scores = paddle.matmul(q * self.head_dim**-0.5, k, transpose_y=True)
        if attn_mask is not None:
            scores = scores + attention_bias(attn_mask, scores.dtype, heads)
        probs = F.softmax(scores)
        if self.dropout:
            probs = F.dropout(probs, self.dropout, training=self.training)
        head_mask = head_mask_of(self) if head_mask is None else head_mask
        weighted = probs
        if head_mask is not None:
            weighted = probs * head_mask.flatten()[:heads].reshape([1, heads, 1, 1])
        context = paddle.matmul(weighted, v).transpose([0, 2, 1, 3])
        out = self.out_proj(context.reshape([0, 0, heads * self.head_dim]))

        extras = [weighted] if self.need_weights else []
        extras += [] if cache is None else [cache]
        return (out, *extras) if extras else out

    def compute_kv(
        self, key: paddle.Tensor, value: paddle.Tensor
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Give keys and values ``[batch, num_heads, length, head_dim]``, to be cached."""
        heads = self.kept_heads()
        return self._split(self.k_proj, key, heads), self._split(self.v_proj, value, heads)

    def gen_cache(
        self,
        key: paddle.Tensor,
        value: paddle.Tensor | None = None,
        type: type = nn.MultiHeadAttention.Cache,
    ) -> Any:
        """Give a cache, as ``paddle.nn.MultiHeadAttention`` does, of the heads kept."""
        if type is self.Cache and value is None:
            empty = paddle.zeros([key.shape[0], self.kept_heads(), 0, self.head_dim], key.dtype)
            return self.Cache(empty, empty)
        return super().gen_cache(key, value, type)

    def _split(self, projection: nn.Layer, x: paddle.Tensor, heads: int) -> paddle.Tensor:
        """Project, and give ``[batch, heads, length, head_dim]``."""
        projected = projection(x, channel=heads * self.head_dim)
        return projected.reshape([0, 0, heads, self.head_dim]).transpose([0, 2, 1, 3])


def attention_bias(mask: paddle.Tensor, dtype: Any, heads: int) -> paddle.Tensor:
    """Turn an attention mask into what is added to the scores of ``heads`` heads."""
    if mask.ndim == 4 and mask.shape[1] > heads:
        mask = mask[:, :heads]
    if mask.dtype == paddle.bool or "int" in str(mask.dtype):
        return (mask.astype(dtype) - 1.0) * 1e9
    return mask.astype(dtype)
