"""The network that is exported: the model's logits in fewer and cheaper operations."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn

from ofa_bert.nn.bert import MASKED, BertForSequenceClassification
from ofa_bert.nn.encoder import EncoderLayer


class LogitsNetwork(nn.Layer):
    """Answers ``[batch, num_classes]`` logits and finds the padding by itself.

    It computes what the model computes, with the model's own parameters, except for what no logit
    depends on: the classifier sees the first token alone, so the last layer runs for that token,
    and gives the others only keys and values. Heads are split with sizes known when the graph is
    written, which Paddle Inference fuses into the products; sizes found at run time cost seven
    operations a split, and at one short text an operation costs as much as its arithmetic.
    """

    def __init__(self, model: BertForSequenceClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: paddle.Tensor, token_type_ids: paddle.Tensor) -> paddle.Tensor:
        """Classify ``[batch, seq_len]`` ids; positions that hold the padding id are masked."""
        bert = self.model.bert
        is_padding = (input_ids == self.model.config.pad_token_id).astype("float32")
        attention_bias = is_padding.unsqueeze([1, 2]) * MASKED
        hidden = bert.embeddings(input_ids, token_type_ids)
        *layers, last = bert.encoder.layers
        for layer in layers:
            hidden = _run_layer(layer, hidden, hidden, attention_bias)
        first_token = _run_layer(last, hidden[:, :1], hidden, attention_bias)
        return self.model.classifier(bert.pooler(first_token))


def _run_layer(
    layer: EncoderLayer,
    queries: paddle.Tensor,
    hidden: paddle.Tensor,
    attention_bias: paddle.Tensor,
) -> paddle.Tensor:
    """Run a layer for some of its tokens, which attend to all.

    Args:
        layer: in eval mode.
        queries: ``[batch, num_queries, hidden_size]``, the tokens to run it for.
        hidden: ``[batch, seq_len, hidden_size]``, all tokens.
        attention_bias: ``[batch, 1, 1, seq_len]``, added to the scores.

    Returns:
        ``[batch, num_queries, hidden_size]``.
    """
    attention = layer.self_attn
    heads, head_dim = attention.num_heads, attention.head_dim

    def split(x: paddle.Tensor) -> paddle.Tensor:
        # 0 keeps an axis as it is.
        return x.reshape([0, 0, heads, head_dim]).transpose([0, 2, 1, 3])

    query = split(attention.q_proj(queries) * head_dim**-0.5)
    key, value = split(attention.k_proj(hidden)), split(attention.v_proj(hidden))
    probs = F.softmax(paddle.matmul(query, key, transpose_y=True) + attention_bias)
    context = paddle.matmul(probs, value).transpose([0, 2, 1, 3])
    attended = attention.out_proj(context.reshape([0, 0, heads * head_dim]))
    x = layer.norm1(queries + attended)
    return layer.norm2(x + layer.linear2(layer.activation(layer.linear1(x))))
