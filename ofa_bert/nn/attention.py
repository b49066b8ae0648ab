"""Multi-head self-attention of which any prefix of heads can be used."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn

from ofa_bert.nn.dropout import Dropout
from ofa_bert.nn.linear import ElasticLinear


class SelfAttention(nn.Layer):
    """Scaled dot-product attention over ``num_heads`` heads of ``head_dim`` each.

    The width of a head does not depend on their number, so the ``1 / sqrt(head_dim)`` scale and
    the meaning of each head stay when heads are left out.
    """

    def __init__(self, hidden_size: int, num_heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.dropout = Dropout(dropout)
        width = num_heads * head_dim
        self.q_proj = ElasticLinear(hidden_size, width)
        self.k_proj = ElasticLinear(hidden_size, width)
        self.v_proj = ElasticLinear(hidden_size, width)
        self.out_proj = ElasticLinear(width, hidden_size)

    def forward(
        self,
        x: paddle.Tensor,
        attention_bias: paddle.Tensor,
        num_heads: int | None = None,
        head_mask: paddle.Tensor | None = None,
    ) -> paddle.Tensor:
        """Attend within each text.

        Args:
            x: ``[batch, seq_len, hidden_size]``.
            attention_bias: added to the scores, ``[batch, 1, 1, seq_len]`` or already
                ``[batch, num_heads, seq_len, seq_len]``; very negative where a position must not
                be seen.
            num_heads: how many of the first heads to use; default all.
            head_mask: ``[num_heads]``, multiplies the attention probabilities of each head.

        Returns:
            ``[batch, seq_len, hidden_size]``.
        """
        num_heads = num_heads or self.num_heads
        width = num_heads * self.head_dim
        # Scaling the queries touches seq_len * head_dim numbers, the scores seq_len * seq_len.
        query = self._split(self.q_proj(x, width) * self.head_dim**-0.5, num_heads)
        key = self._split(self.k_proj(x, width), num_heads)
        value = self._split(self.v_proj(x, width), num_heads)
        scores = paddle.matmul(query, key, transpose_y=True) + attention_bias
        probs = self.dropout(F.softmax(scores))
        context = paddle.matmul(probs, value).transpose([0, 2, 1, 3]).flatten(2)
        if head_mask is not None:
            # A factor on a head's probabilities is one on their product with its values, which
            # is smaller: head_dim numbers a token instead of seq_len.
            context = context * head_mask.repeat_interleave(self.head_dim)
        return self.out_proj(context)

    def _split(self, x: paddle.Tensor, num_heads: int) -> paddle.Tensor:
        """Reshape ``[batch, seq_len, width]`` to ``[batch, num_heads, seq_len, head_dim]``."""
        batch_and_length = paddle.shape(x)[:2] if not paddle.in_dynamic_mode() else x.shape[:2]
        shape = [*batch_and_length, num_heads, self.head_dim]
        return x.reshape(shape).transpose([0, 2, 1, 3])
