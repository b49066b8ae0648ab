"""BERT for classifying texts, with the width as an argument (arXiv:1810.04805).

Parameters carry PaddleNLP's names and layouts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import nn

from ofa_bert.model_config import ModelConfig
from ofa_bert.nn.dropout import Dropout
from ofa_bert.nn.encoder import Encoder, EncoderOutput, FFNActivations
from ofa_bert.nn.layer_norm import LayerNorm
from ofa_bert.subnet import Subnet, check_subnet, full_subnet

MASKED = -1e4  # Added to a masked score: exp underflows to 0, and bf16 can hold it.


@dataclass(frozen=True)
class ModelOutput:
    """What a model answers to a batch."""

    logits: paddle.Tensor
    """``[batch, num_classes]``; regression: ``[batch, 1]``."""
    hidden_states: tuple[paddle.Tensor, ...]
    """Embeddings first, then each layer used: ``[batch, seq_len, hidden_size]`` each."""
    ffn_activations: tuple[FFNActivations, ...]
    """The FFN neurons of each layer used."""


class Embeddings(nn.Layer):
    """Sum of word, position and segment embeddings, normalised."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hidden_size = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, hidden_size)
        self.layer_norm = LayerNorm(hidden_size, epsilon=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: paddle.Tensor, token_type_ids: paddle.Tensor) -> paddle.Tensor:
        """Embed ``[batch, seq_len]`` ids as ``[batch, seq_len, hidden_size]``."""
        positions = paddle.arange(input_ids.shape[1], dtype="int64").unsqueeze(0)
        summed = (
            self.word_embeddings(input_ids)
            + self.position_embeddings(positions)
            + self.token_type_embeddings(token_type_ids)
        )
        return self.dropout(self.layer_norm(summed))


class Pooler(nn.Layer):
    """A dense layer with tanh on the first token."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden: paddle.Tensor) -> paddle.Tensor:
        """Map ``[batch, seq_len, hidden_size]`` to ``[batch, hidden_size]``."""
        return paddle.tanh(self.dense(hidden[:, 0]))


class BertModel(nn.Layer):
    """Embeddings, encoder and pooler."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config.hidden_size)

    def forward(
        self,
        input_ids: paddle.Tensor,
        token_type_ids: paddle.Tensor,
        attention_mask: paddle.Tensor,
        subnet: Subnet,
        head_mask: Sequence[paddle.Tensor] | None = None,
    ) -> tuple[paddle.Tensor, EncoderOutput]:
        """Give the pooled first token ``[batch, hidden_size]`` and what the encoder computed."""
        attention_bias = (1.0 - attention_mask.astype("float32")).unsqueeze([1, 2]) * MASKED
        embedded = self.embeddings(input_ids, token_type_ids)
        encoded = self.encoder(embedded, attention_bias, subnet, head_mask)
        return self.pooler(encoded.hidden_states[-1]), encoded


class BertForSequenceClassification(nn.Layer):
    """BERT with a linear classifier; one output is a regression."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.bert = BertModel(config)
        rate = config.classifier_dropout
        self.dropout = Dropout(config.hidden_dropout_prob if rate is None else rate)
        self.classifier = nn.Linear(config.hidden_size, config.num_classes)

    def forward(
        self,
        input_ids: paddle.Tensor,
        token_type_ids: paddle.Tensor | None = None,
        attention_mask: paddle.Tensor | None = None,
        subnet: Subnet | None = None,
        head_mask: Sequence[paddle.Tensor] | None = None,
    ) -> ModelOutput:
        """Classify a batch with the whole network or with a sub-network of it.

        Args:
            input_ids: ``[batch, seq_len]`` token ids.
            token_type_ids: ``[batch, seq_len]`` segment ids; default zeros.
            attention_mask: ``[batch, seq_len]``, 1 for tokens and 0 for padding; default: where
                ``input_ids`` is not the padding id.
            subnet: what to use of each layer; default everything.
            head_mask: for each layer used ``[num_heads]``, multiplies the attention probabilities.

        Raises:
            InputError: if ``subnet`` asks for more than the model has.
        """
        if subnet is None:
            subnet = full_subnet(self.config)
        check_subnet(self.config, subnet)
        if token_type_ids is None:
            token_type_ids = paddle.zeros_like(input_ids)
        if attention_mask is None:
            attention_mask = input_ids != self.config.pad_token_id
        pooled, encoded = self.bert(input_ids, token_type_ids, attention_mask, subnet, head_mask)
        logits = self.classifier(self.dropout(pooled))
        return ModelOutput(logits, encoded.hidden_states, encoded.ffn_activations)


def init_weights(model: BertForSequenceClassification, seed: int) -> None:
    """Draw fresh weights as BERT does: normal matrices, zero biases, unit norms.

    The numbers depend on ``seed`` and the parameters' order alone.
    """
    generator = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        if len(parameter.shape) == 2:
            values = generator.normal(0.0, model.config.initializer_range, parameter.shape)
            parameter.set_value(values.astype("float32"))
        elif name.endswith("bias"):
            parameter.set_value(np.zeros(parameter.shape, "float32"))
        else:
            parameter.set_value(np.ones(parameter.shape, "float32"))
