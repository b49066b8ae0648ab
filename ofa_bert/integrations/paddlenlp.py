"""Our sub-models as models of paddlenlp."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import paddle

from ofa_bert.checkpoint.load import load_model
from ofa_bert.errors import InputError
from ofa_bert.model_config import ModelConfig
from ofa_bert.nn.encoder import ACTIVATIONS


def load_sub_model(directory: str | Path) -> Any:
    """Load a sub-model as a ``paddlenlp.transformers.BertForSequenceClassification``.

    Its weights and logits equal those of our model. paddlenlp's layers take their size from the
    config and know one size for all layers, so those of a sub-model are given their own in this
    one instance; nothing of paddlenlp or paddle is changed. For the same reason paddlenlp's
    ``from_pretrained`` cannot read back what this instance saves: keep our directory.

    Args:
        directory: any checkpoint our loader reads.

    Returns:
        The model in eval mode.

    Raises:
        InputError: if paddlenlp is not installed, or the checkpoint cannot be read.
    """
    if importlib.util.find_spec("paddlenlp") is None:
        raise InputError(
            "paddlenlp must be installed for this; type pip install 'ofa_bert[paddlenlp]'"
        )
    from paddlenlp.transformers import BertForSequenceClassification

    ours = load_model(directory)
    theirs = BertForSequenceClassification(_their_config(ours.config))
    for layer, their_layer in enumerate(theirs.bert.encoder.layers):
        _resize(their_layer, ours.config, layer)
    theirs.set_state_dict(ours.state_dict())
    theirs.eval()
    return theirs


def _their_config(config: ModelConfig) -> Any:
    from paddlenlp.transformers import BertConfig

    labels = config.labels or tuple(f"LABEL_{number}" for number in range(config.num_classes))
    return BertConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=1,  # divides every hidden_size; each layer gets its own below
        intermediate_size=max(config.intermediate_size),
        hidden_act="relu",  # likewise
        hidden_dropout_prob=config.hidden_dropout_prob,
        attention_probs_dropout_prob=config.attention_probs_dropout_prob,
        classifier_dropout=config.classifier_dropout,
        max_position_embeddings=config.max_position_embeddings,
        type_vocab_size=config.type_vocab_size,
        initializer_range=config.initializer_range,
        layer_norm_eps=config.layer_norm_eps,
        pad_token_id=config.pad_token_id,
        num_labels=config.num_classes,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )


def _resize(their_layer: Any, config: ModelConfig, layer: int) -> None:
    """Give one layer of theirs the sizes and the activation of ours."""
    num_heads, num_neurons = config.num_attention_heads[layer], config.intermediate_size[layer]
    hidden_size, width = config.hidden_size, num_heads * config.head_dim
    attention = their_layer.self_attn
    attention.num_heads, attention.head_dim = num_heads, config.head_dim
    for name in ("q_proj", "k_proj", "v_proj"):
        setattr(attention, name, paddle.nn.Linear(hidden_size, width))
    attention.out_proj = paddle.nn.Linear(width, hidden_size)
    their_layer.linear1 = paddle.nn.Linear(hidden_size, num_neurons)
    their_layer.linear2 = paddle.nn.Linear(num_neurons, hidden_size)
    their_layer.activation = ACTIVATIONS[config.hidden_act]
