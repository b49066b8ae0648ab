"""The post-norm Transformer encoder of BERT with elastic heads, neurons and layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import paddle
import paddle.nn.functional as F
from paddle import nn

from ofa_bert.model_config import ModelConfig
from ofa_bert.nn.attention import SelfAttention
from ofa_bert.nn.dropout import Dropout
from ofa_bert.nn.layer_norm import LayerNorm
from ofa_bert.nn.linear import ElasticLinear
from ofa_bert.subnet import Subnet


def _gelu_tanh(x: paddle.Tensor) -> paddle.Tensor:
    return F.gelu(x, approximate=True)


ACTIVATIONS: dict[str, Callable[[paddle.Tensor], paddle.Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": _gelu_tanh,
    "relu": F.relu,
    "tanh": F.tanh,
}


@dataclass(frozen=True)
class FFNActivations:
    """The neurons of one FFN, each tensor ``[batch, seq_len, num_neurons]``."""

    before: paddle.Tensor
    """Before the activation function: ``x W1 + b1``."""
    after: paddle.Tensor
    """After it: what ``W2`` multiplies."""


class EncoderLayer(nn.Layer):
    """Self-attention and a two-layer FFN, each followed by dropout, a sum and a LayerNorm."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        hidden_size, eps = config.hidden_size, config.layer_norm_eps
        num_neurons = config.intermediate_size[layer]
        self.self_attn = SelfAttention(
            hidden_size,
            config.num_attention_heads[layer],
            config.head_dim,
            config.attention_probs_dropout_prob,
        )
        self.linear1 = ElasticLinear(hidden_size, num_neurons)
        self.linear2 = ElasticLinear(num_neurons, hidden_size)
        self.norm1 = LayerNorm(hidden_size, epsilon=eps)
        self.norm2 = LayerNorm(hidden_size, epsilon=eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(
        self,
        x: paddle.Tensor,
        attention_bias: paddle.Tensor,
        num_heads: int | None = None,
        num_neurons: int | None = None,
        head_mask: paddle.Tensor | None = None,
    ) -> tuple[paddle.Tensor, FFNActivations]:
        """Map ``[batch, seq_len, hidden_size]`` to the same shape, by a prefix of the layer."""
        attended = self.self_attn(x, attention_bias, num_heads, head_mask)
        x = self.norm1(x + self.dropout(attended))
        before = self.linear1(x, num_neurons)
        after = self.activation(before)
        x = self.norm2(x + self.dropout(self.linear2(after)))
        return x, FFNActivations(before, after)


def _bias_of_layers(
    attention_bias: paddle.Tensor, num_heads: tuple[int, ...]
) -> list[paddle.Tensor]:
    """Give the bias that each layer adds to its attention scores.

    On the CPU it is written out once to the scores' own shape, ``[batch, num_heads, seq_len,
    seq_len]``: paddle adds tensors of one shape far faster than it broadcasts one of them.
    """
    if not paddle.in_dynamic_mode() or not attention_bias.place.is_cpu_place():
        return [attention_bias] * len(num_heads)
    batch, _, _, seq_len = attention_bias.shape
    full = attention_bias.expand([batch, max(num_heads), seq_len, seq_len])
    return [full if count == full.shape[1] else full[:, :count] for count in num_heads]


@dataclass(frozen=True)
class EncoderOutput:
    """What an encoder computed on the way."""

    hidden_states: tuple[paddle.Tensor, ...]
    """Its input, then the output of every layer used: ``[batch, seq_len, hidden_size]`` each."""
    ffn_activations: tuple[FFNActivations, ...]
    """The FFN neurons of every layer used."""


class Encoder(nn.Layer):
    """A stack of layers, of which a ``Subnet`` says which to use and how much of each."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layers = nn.LayerList([EncoderLayer(config, i) for i in range(config.num_layers)])

    def forward(
        self,
        x: paddle.Tensor,
        attention_bias: paddle.Tensor,
        subnet: Subnet,
        head_mask: Sequence[paddle.Tensor] | None = None,
    ) -> EncoderOutput:
        """Run the layers of ``subnet`` in order.

        Args:
            x: ``[batch, seq_len, hidden_size]``, the embeddings.
            attention_bias: ``[batch, 1, 1, seq_len]``, added to the attention scores.
            subnet: the sub-network to run.
            head_mask: ``[num_heads]`` for each of ``subnet.layers``.
        """
        hidden_states, activations = [x], []
        biases = _bias_of_layers(attention_bias, subnet.num_heads)
        sizes = zip(subnet.layers, subnet.num_heads, subnet.num_neurons, biases, strict=True)
        for row, (layer, num_heads, num_neurons, bias) in enumerate(sizes):
            row_mask = None if head_mask is None else head_mask[row]
            x, ffn = self.layers[layer](x, bias, num_heads, num_neurons, row_mask)
            hidden_states.append(x)
            activations.append(ffn)
        return EncoderOutput(tuple(hidden_states), tuple(activations))
