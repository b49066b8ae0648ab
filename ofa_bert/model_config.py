"""What shapes a BERT. ``checkpoint/model_config.py`` reads it from files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ofa_bert.errors import nearest
from ofa_bert.rules import require

MODEL_TYPES = ("bert",)
ACTIVATIONS = ("gelu", "gelu_new", "relu", "tanh")
ROWS_OF_TEXTS = {1: "single texts", 2: "pairs of texts"}
"""What the rows of a model of one ``num_texts`` are called."""


@dataclass(frozen=True)
class ModelConfig:
    """The numbers that shape a BERT. A sub-model is the same class with smaller ones."""

    vocab_size: int
    """Rows of the word embedding."""
    hidden_size: int
    """Width of ``hidden_states``; not elastic."""
    num_attention_heads: tuple[int, ...]
    """Attention heads of each layer."""
    intermediate_size: tuple[int, ...]
    """FFN neurons of each layer."""
    head_dim: int
    """Width of one head; stays when heads are removed."""
    max_position_embeddings: int = 512
    """Longest sequence, in tokens."""
    type_vocab_size: int = 2
    """Segments that token_type_ids can name."""
    hidden_act: str = "gelu"
    """Activation of the FFN: gelu (exact), gelu_new (tanh form), relu or tanh."""
    hidden_dropout_prob: float = 0.1
    """Dropout after embeddings, attention output and FFN output."""
    attention_probs_dropout_prob: float = 0.1
    """Dropout of the attention probabilities."""
    classifier_dropout: float | None = None
    """Dropout before the classifier; None: ``hidden_dropout_prob``."""
    layer_norm_eps: float = 1e-12
    """Added to the variance in LayerNorm."""
    initializer_range: float = 0.02
    """Standard deviation of fresh weights."""
    pad_token_id: int = 0
    """Token id of padding; positions that hold it are masked out."""
    num_classes: int = 2
    """Width of the logits; 1 for regression."""
    labels: tuple[str, ...] = ()
    """Label of each class, by index; empty when unknown and for regression."""
    task_name: str | None = None
    """Task the classifier was trained on."""
    max_seq_length: int | None = None
    """Length, in tokens, that training truncated texts to."""
    num_texts: int | None = None
    """Texts of one row that the classifier was trained on, 1 or 2; None where unknown."""

    def __post_init__(self) -> None:
        heads, neurons = self.num_attention_heads, self.intermediate_size
        require(
            len(heads) == len(neurons) and len(heads) > 0,
            "num_attention_heads and intermediate_size must name every layer once; "
            f"got {len(heads)} and {len(neurons)} layers",
        )
        for name, value in [
            ("num_attention_heads", min(heads)),
            ("intermediate_size", min(neurons)),
        ]:
            require(value >= 1, f"{name} must be at least 1 in every layer; got {value}")
        for name in ("vocab_size", "hidden_size", "head_dim", "num_classes"):
            require(
                getattr(self, name) >= 1, f"{name} must be at least 1; got {getattr(self, name)}"
            )
        require(
            self.hidden_act in ACTIVATIONS,
            f"hidden_act {self.hidden_act!r} is unknown; {nearest(self.hidden_act, ACTIVATIONS)}",
        )
        require(
            len(self.labels) in (0, self.num_classes),
            f"labels must name each of the {self.num_classes} classes; got {list(self.labels)}",
        )

    @property
    def num_layers(self) -> int:
        """Count of encoder layers."""
        return len(self.num_attention_heads)

    @property
    def is_regression(self) -> bool:
        """Whether the single logit is a number to predict rather than a class score."""
        return self.num_classes == 1

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON values.

        Sizes that are the same in every layer are written once, so that a model of ordinary
        shape has an ordinary config.json.
        """
        values = dataclasses.asdict(self)
        values["model_type"] = "bert"
        values["num_hidden_layers"] = self.num_layers
        for name in ("num_attention_heads", "intermediate_size"):
            sizes = values[name]
            values[name] = sizes[0] if len(set(sizes)) == 1 else list(sizes)
        values["labels"] = list(self.labels)
        return values
