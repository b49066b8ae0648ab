"""What stands beside a static graph so that a program can feed it without the training code.

Needs no paddle. ``export/static.py`` writes it, ``predictor.py`` reads it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from ofa_bert import __version__
from ofa_bert.errors import InputError
from ofa_bert.model_config import ModelConfig
from ofa_bert.rules import MAX_SIZE, is_size
from ofa_bert.safe_text import is_label, short

GRAPH_FILE = "model.json"
PARAMS_FILE = "model.pdiparams"
DEPLOY_FILE = "deploy.json"
INPUT_NAMES = ("input_ids", "token_type_ids")


@dataclass(frozen=True)
class DeployInfo:
    """The inputs, the labels and the limits of one static graph."""

    labels: tuple[str, ...]
    """Label of each class, by index; empty for regression and when unknown."""
    is_regression: bool
    """Whether the single logit is the answer itself."""
    task_name: str | None
    """Task the classifier was trained on."""
    max_seq_length: int
    """Length, in tokens, to cut texts to."""
    max_position_embeddings: int
    """Longest sequence the graph takes, in tokens."""
    vocab_size: int
    """``input_ids`` are below this."""
    type_vocab_size: int
    """``token_type_ids`` are below this."""
    pad_token_id: int
    """``input_ids`` at padding; the graph masks these positions."""
    num_texts: int | None = None
    """Texts of one row, 1 or 2; None where the model does not say."""
    file_bytes: Mapping[str, int] = field(default_factory=dict)
    """Size of each file of the graph, to tell a truncated one."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """What wrote the graph."""

    @classmethod
    def from_config(
        cls, config: ModelConfig, max_seq_length: int, file_bytes: Mapping[str, int]
    ) -> DeployInfo:
        """Describe the graph of a model of ``config``."""
        return cls(
            labels=config.labels,
            is_regression=config.is_regression,
            task_name=config.task_name,
            max_seq_length=max_seq_length,
            max_position_embeddings=config.max_position_embeddings,
            vocab_size=config.vocab_size,
            type_vocab_size=config.type_vocab_size,
            pad_token_id=config.pad_token_id,
            num_texts=config.num_texts,
            file_bytes=file_bytes,
            versions=versions(),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON values, with the form of each input and of the output."""
        inputs = [
            {"name": name, "dtype": "int64", "shape": ["batch", "seq_len"]} for name in INPUT_NAMES
        ]
        output = {"name": "logits", "dtype": "float32", "shape": ["batch", "num_classes"]}
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {"inputs": inputs, "output": output, **values, "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DeployInfo:
        """Read what ``to_dict`` wrote.

        Raises:
            InputError: if a value is missing or has the wrong form.
        """
        values = {"num_texts": None, **values}  # which earlier exports do not say
        names = [f.name for f in dataclasses.fields(cls)]
        missing = [name for name in names if name not in values]
        if missing:
            raise InputError(f"{DEPLOY_FILE} must say {', '.join(missing)}; {EXPORT_HINT}")
        for name in names:
            _check(name, values[name])
        known = {name: values[name] for name in names}
        return cls(**{**known, "labels": tuple(values["labels"])})


def _check(name: str, value: Any) -> None:
    """Raise ``InputError`` unless a field of ``DeployInfo`` has its form."""
    form, is_right = {
        "labels": ("a list of texts of one line", _is_labels(value)),
        "is_regression": ("true or false", isinstance(value, bool)),
        "task_name": ("a text of one line or null", value is None or _is_labels([value])),
        "pad_token_id": ("a token id", is_size(value, least=0)),
        "num_texts": ("1, 2 or null", value is None or is_size(value, 1, 2)),
        "file_bytes": (
            "sizes by name",
            isinstance(value, dict) and all(is_size(v, 0, 2**63) for v in value.values()),
        ),
        "versions": ("an object", isinstance(value, dict)),
    }.get(name, (f"a whole number from 1 to {MAX_SIZE}", is_size(value)))
    if not is_right:
        raise InputError(f"{name} must be {form}; got {short(value)}; {EXPORT_HINT}")


def _is_labels(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) and is_label(v) for v in value)


EXPORT_HINT = "write the directory with export_model.py --static_sub_model DIR"


def versions() -> dict[str, str]:
    """Give the versions of ofa_bert and of the installed paddle, or ``unknown``."""
    return {"ofa_bert": __version__, "paddle": _installed("paddlepaddle", "paddlepaddle-gpu")}


def _installed(*packages: str) -> str:
    for package in packages:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"
