"""A random two-layer BERT and a padded batch for it, small enough for any test.

Every parameter is random, biases and LayerNorms too: a fresh layer has zero biases and unit
norms, and a test on those cannot see one that was lost or put in the wrong place.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa_bert import runtime
from ofa_bert.model_config import ModelConfig

runtime.prepare()

import paddle  # noqa: E402

from ofa_bert.data.encoded import EncodedDataset  # noqa: E402
from ofa_bert.nn.bert import BertForSequenceClassification  # noqa: E402

if TYPE_CHECKING:
    from ofa_bert.data.tokenizer import Tokenizer

VOCAB_SIZE = 60


def tiny_config(
    num_heads: int = 4,
    *,
    num_layers: int = 2,
    head_dim: int = 3,
    num_neurons: int = 24,
    **changes: Any,
) -> ModelConfig:
    """Give a config with ``hidden_size = num_heads * head_dim``; ``changes`` are other fields."""
    values: dict[str, Any] = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": num_heads * head_dim,
        "num_attention_heads": (num_heads,) * num_layers,
        "intermediate_size": (num_neurons,) * num_layers,
        "head_dim": head_dim,
        "max_position_embeddings": 160,
        "num_classes": 3,
    }
    return ModelConfig(**{**values, **changes})


def tiny_model(config: ModelConfig | None = None, seed: int = 0) -> BertForSequenceClassification:
    """Give a model in eval mode whose every parameter is drawn from a normal of 0.3."""
    model = BertForSequenceClassification(config or tiny_config())
    randomise(model, seed)
    model.eval()
    return model


def randomise(model: paddle.nn.Layer, seed: int = 0, scale: float = 0.3) -> None:
    """Draw every parameter anew; the weights of LayerNorms around 1, all others around 0."""
    generator = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        values = generator.normal(0.0, scale, parameter.shape)
        is_norm_weight = "norm" in name and name.endswith("weight")
        parameter.set_value((values + is_norm_weight).astype("float32"))


def tiny_batch(seed: int = 0, batch: int = 3, seq_len: int = 7) -> dict[str, np.ndarray]:
    """Give int64 ``input_ids``, ``token_type_ids``, ``attention_mask``, ``[batch, seq_len]``.

    The first row is full; the others end in padding (id 0), at least one token of it where
    ``seq_len`` allows.
    """
    generator = np.random.default_rng(seed)
    input_ids = generator.integers(1, VOCAB_SIZE, (batch, seq_len))
    token_type_ids = generator.integers(0, 2, (batch, seq_len))
    lengths = generator.integers(1, max(seq_len, 2), (batch, 1))
    lengths[0] = seq_len
    attention_mask = (np.arange(seq_len)[None] < lengths).astype("int64")
    return {
        "input_ids": input_ids * attention_mask,
        "token_type_ids": token_type_ids * attention_mask,
        "attention_mask": attention_mask,
    }


def tiny_dataset(
    num_rows: int = 10, *, num_classes: int = 3, longest: int = 9, seed: int = 0
) -> EncodedDataset:
    """Give random rows of 2 to ``longest`` tokens with random labels; 1 class: a regression."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(2, longest + 1, num_rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    labels = generator.integers(0, num_classes, num_rows)
    if num_classes == 1:
        labels = generator.normal(size=num_rows).astype("float32")
    return EncodedDataset(
        input_ids=generator.integers(1, VOCAB_SIZE, offsets[-1]).astype("int32"),
        token_type_ids=generator.integers(0, 2, offsets[-1]).astype("int32"),
        offsets=offsets,
        labels=labels,
    )


def tiny_vocab() -> list[str]:
    """Give ``VOCAB_SIZE`` WordPiece tokens: special ones, two tails, ``w0``, ``w1``, ..."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##s", "##ly"]
    return special + [f"w{number}" for number in range(VOCAB_SIZE - len(special))]


def tiny_tokenizer(directory: Path) -> Tokenizer:
    """Load a tokenizer of ``tiny_vocab`` from a ``vocab.txt`` written into ``directory``."""
    from ofa_bert.data.tokenizer import load_tokenizer

    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("\n".join(tiny_vocab()) + "\n", encoding="utf-8")
    return load_tokenizer(directory)
