"""Read a model's config.json: ours, Hugging Face's, PaddleNLP's and PaddleNLP's older form."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ofa_bert.checkpoint.files import read_json, short
from ofa_bert.deploy import DEPLOY_FILE
from ofa_bert.errors import InputError, nearest
from ofa_bert.model_config import MODEL_TYPES, ModelConfig
from ofa_bert.rules import MAX_SIZE, is_size, require
from ofa_bert.safe_text import is_label
from ofa_bert.width_folders import hint_of_widths

CONFIG_FILE = "config.json"
OLD_CONFIG_FILE = "model_config.json"
MAX_LAYERS = 1000

MULTI_LABEL = "multi_label_classification"
SAME_ACTIVATION = {"gelu_pytorch_tanh": "gelu_new", "gelu_fast": "gelu_new"}
"""Other names of activations we know."""

INTEGERS = {
    "vocab_size": None,
    "hidden_size": None,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}
FRACTIONS = {
    "hidden_dropout_prob": (0.1, 1.0),
    "attention_probs_dropout_prob": (0.1, 1.0),
    "layer_norm_eps": (1e-12, 1e-3),  # paddle's LayerNorm takes no more
    "initializer_range": (0.02, 1.0),
}
"""Default and greatest value."""


def read_model_config(directory: Path) -> ModelConfig:
    """Read the config of a checkpoint directory.

    Raises:
        InputError: if there is none, or it is not that of a BERT we can build.
    """
    for name in (CONFIG_FILE, OLD_CONFIG_FILE):
        path = directory / name
        if path.is_file():
            return parse_model_config(read_json(path, "model config"), str(path))
    hint = hint_of_widths(directory)
    if (directory / DEPLOY_FILE).is_file():
        hint = f"it holds a static graph: type python -m ofa_bert predict --model {directory}"
    raise InputError(
        f"model directory {directory} must hold {CONFIG_FILE} or {OLD_CONFIG_FILE}; it has neither"
        + (f"; {hint}" if hint else "")
    )


def parse_model_config(values: Mapping[str, Any], where: str) -> ModelConfig:
    """Turn the values of any of the four forms into ours; ``where`` begins every message.

    Raises:
        InputError: if a key is missing, or a value is wrong or is one we do not support.
    """
    try:
        values = _flatten(values)
        _check_kind(values)
        return _ours(values) if "head_dim" in values else _theirs(values)
    except InputError as error:
        raise InputError(f"model config {where}: {error}") from None


def _flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Lift PaddleNLP's nested ``init_args`` (the base model, then num_classes) to the top."""
    flat = dict(values)
    init_args = flat.pop("init_args", None)
    if init_args is None:
        if "init_class" in flat:
            flat.setdefault("type_vocab_size", 16)  # PaddleNLP's default
        return flat
    require(
        isinstance(init_args, list) and len(init_args) > 0 and isinstance(init_args[0], dict),
        f"init_args must be a list that starts with the base model; got {short(init_args)}",
    )
    if len(init_args) > 1:
        flat.setdefault("num_classes", init_args[1])
    base = {"type_vocab_size": 16, **init_args[0]}
    return {**base, **flat}


def _check_kind(values: Mapping[str, Any]) -> None:
    """Refuse networks that are not the BERT we build."""
    model_type = values.get("model_type")
    if model_type is None:
        network = values.get("init_class") or values.get("architectures") or "Bert"
        words = re.findall("[A-Z][a-z]+", str(network))
        model_type = words[0].lower() if words else "bert"
    require(
        model_type in MODEL_TYPES,
        f"model_type must be one we know; got {short(model_type)}; "
        f"{nearest(str(model_type)[:40], MODEL_TYPES)}",
    )
    for name, only in [
        ("position_embedding_type", "absolute"),
        ("pool_act", "tanh"),
        ("is_decoder", False),
        ("add_cross_attention", False),
    ]:
        require(
            values.get(name, only) == only,
            f"{name} must be {only!r}, the only one supported; got {short(values.get(name))}",
        )
    # Several labels of one text: an answer of ours is the likeliest class alone.
    require(
        values.get("problem_type") != MULTI_LABEL,
        f"problem_type must be that of one label a text; got {MULTI_LABEL!r}, not supported",
    )


def _theirs(values: Mapping[str, Any]) -> ModelConfig:
    num_layers = _integer(values, "num_hidden_layers", most=MAX_LAYERS)
    num_heads = _integer(values, "num_attention_heads")
    hidden_size = _integer(values, "hidden_size")
    require(
        hidden_size % num_heads == 0,
        f"hidden_size must be a multiple of num_attention_heads; got {hidden_size} and {num_heads}",
    )
    num_classes, labels = _classes(values)
    return ModelConfig(
        num_attention_heads=(num_heads,) * num_layers,
        intermediate_size=(_integer(values, "intermediate_size"),) * num_layers,
        head_dim=hidden_size // num_heads,
        num_classes=num_classes,
        labels=labels,
        **_common(values),
    )


def _ours(values: Mapping[str, Any]) -> ModelConfig:
    num_layers = _integer(values, "num_hidden_layers", most=MAX_LAYERS)
    labels = values.get("labels") or []
    require(
        isinstance(labels, list) and all(isinstance(label, str) for label in labels),
        f"labels must be a list of texts; got {short(labels)}",
    )
    _check_labels(labels)
    num_classes = _integer(values, "num_classes")
    require(
        len(labels) in (0, num_classes),
        f"labels must name each of the {num_classes} classes; got {short(labels)}",
    )
    task_name = values.get("task_name")
    require(
        task_name is None or (isinstance(task_name, str) and is_label(task_name)),
        f"task_name must be a text of one line; got {short(task_name)}",
    )
    max_seq_length = None
    if values.get("max_seq_length") is not None:
        max_seq_length = _integer(values, "max_seq_length")
    num_texts = None
    if values.get("num_texts") is not None:
        num_texts = _integer(values, "num_texts", most=2)
    return ModelConfig(
        num_attention_heads=_per_layer(values, "num_attention_heads", num_layers),
        intermediate_size=_per_layer(values, "intermediate_size", num_layers),
        head_dim=_integer(values, "head_dim"),
        num_classes=num_classes,
        labels=tuple(labels),
        task_name=task_name,
        max_seq_length=max_seq_length,
        num_texts=num_texts,
        **_common(values),
    )


def _common(values: Mapping[str, Any]) -> dict[str, Any]:
    """Read what all forms spell alike."""
    known: dict[str, Any] = {n: _integer(values, n, default) for n, default in INTEGERS.items()}
    for name, (default, most) in FRACTIONS.items():
        known[name] = _fraction(name, values.get(name, default), most)
    rate = values.get("classifier_dropout")
    known["classifier_dropout"] = rate if rate is None else _fraction("classifier_dropout", rate, 1)
    act = values.get("hidden_act", "gelu")
    act = _checked("hidden_act", act, "a short text", lambda v: isinstance(v, str) and len(v) < 40)
    pad = values.get("pad_token_id", 0)
    known["pad_token_id"] = _checked("pad_token_id", pad, "a token id", lambda v: is_size(v, 0))
    return {**known, "hidden_act": SAME_ACTIVATION.get(act, act)}


def _classes(values: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    """Find how many classes there are and, where they have real names, their labels."""
    names = _label_names(values)
    counts = {n: values[n] for n in ("num_labels", "num_classes") if values.get(n) is not None}
    for name in counts:
        _integer(values, name)
    if names:
        counts["id2label"] = len(names)
    require(
        len(set(counts.values())) <= 1,
        "count of classes must be the same everywhere; got "
        + ", ".join(f"{name} {count}" for name, count in counts.items()),
    )
    num_classes = next(iter(counts.values()), 2)
    # What Hugging Face writes for want of anything better.
    placeholders = all(re.fullmatch(r"LABEL_\d+", name) for name in names)
    return num_classes, () if placeholders or num_classes == 1 else names


def _label_names(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Read ``id2label``, or ``label2id`` the other way round, as a tuple by class number."""
    table = values.get("id2label")
    if table is None:
        inverse = values.get("label2id") or {}
        _checked("label2id", inverse, "an object", lambda v: isinstance(v, dict))
        table = {str(number): label for label, number in inverse.items()}
    _checked("id2label", table, "an object", lambda v: isinstance(v, dict))
    try:
        names = tuple(_label(table[str(number)]) for number in range(len(table)))
    except KeyError:
        raise InputError(
            f"id2label must name classes 0 to {len(table) - 1}; got {short(sorted(table))}"
        ) from None
    _check_labels(names)
    return names


def _label(name: Any) -> str:
    form = "a text or a number"
    return str(_checked("label", name, form, lambda v: isinstance(v, str) or _is_number(v)))


def _check_labels(labels: Sequence[str]) -> None:
    """Refuse labels that would break the lines ``predict`` writes, or move a cursor."""
    for label in labels:
        require(is_label(label), f"labels must be texts of one line; got {short(label)}")


def _per_layer(values: Mapping[str, Any], name: str, num_layers: int) -> tuple[int, ...]:
    """Read a size that is one number or one for each layer."""
    sizes = values.get(name)
    if not isinstance(sizes, list):
        return (_integer(values, name),) * num_layers
    require(
        len(sizes) == num_layers,
        f"{name} must name each of the {num_layers} layers; got {len(sizes)} sizes",
    )
    return tuple(_integer({name: size}, name) for size in sizes)


def _integer(
    values: Mapping[str, Any], name: str, default: int | None = None, most: int = MAX_SIZE
) -> int:
    value = values.get(name, default)
    require(value is not None, f"{name} must be given; it is missing")
    return _checked(name, value, f"a whole number from 1 to {most}", lambda v: is_size(v, 1, most))


def _fraction(name: str, value: Any, most: float) -> float:
    form = f"a number from 0 to {most:g}"
    return _checked(name, value, form, lambda v: _is_number(v) and 0 <= v <= most)


def _checked(name: str, value: Any, form: str, rule: Callable[[Any], bool]) -> Any:
    require(rule(value), f"{name} must be {form}; got {short(value)}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
