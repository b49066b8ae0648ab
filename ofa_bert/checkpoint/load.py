"""Load a BERT of ours, PaddleNLP's or Hugging Face's from a directory or by its hub name."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ofa_bert.checkpoint.files import short
from ofa_bert.checkpoint.hub import fetch, is_hub_name
from ofa_bert.checkpoint.model_config import parse_model_config, read_model_config
from ofa_bert.checkpoint.names import Shape, parameter_shapes
from ofa_bert.checkpoint.weights import find_weights, fit, read_weights
from ofa_bert.errors import InputError
from ofa_bert.model_config import ModelConfig
from ofa_bert.nn.bert import BertForSequenceClassification
from ofa_bert.rules import require

logger = logging.getLogger(__name__)

FRESH_MODULES = ("bert.pooler.dense", "classifier")
"""What a checkpoint may lack: it then starts from random weights."""
MAX_FRESH = 10
"""Most fresh weights to each one read."""


def load_model(
    model_name_or_path: str | Path,
    *,
    num_classes: int | None = None,
    labels: tuple[str, ...] = (),
    seed: int = 42,
) -> BertForSequenceClassification:
    """Load a model; nothing is written into the directory it is read from.

    Weights of any float dtype become float32. A checkpoint without classifier (or pooler) gets a
    fresh one, normal(0, initializer_range) with zero bias, and a warning in the log says so.

    Args:
        model_name_or_path: a checkpoint directory, or a name paddlenlp's hub knows.
        num_classes: classes the model must have; default: those of the checkpoint.
        labels: their names; default: those of the checkpoint's classifier.
        seed: decides the fresh weights.

    Returns:
        The model in eval mode.

    Raises:
        InputError: if something is missing, damaged, of another kind of network, does not fit
            the config, holds NaN, or has a classifier of another size than ``num_classes``.
    """
    config, path = _locate(model_name_or_path)
    arrays = read_weights(path)
    fresh = [m for m in FRESH_MODULES if not any(name.startswith(f"{m}.") for name in arrays)]
    if "classifier" in fresh:
        config = _with_new_classes(config, num_classes, labels)
    else:
        config = _with_same_classes(config, num_classes, labels, str(model_name_or_path))
    shapes = parameter_shapes(config)
    fresh_shapes = {n: s for n, s in shapes.items() if n.rpartition(".")[0] in fresh}
    _check_fresh(fresh_shapes, arrays, path)
    read_shapes = {n: s for n, s in shapes.items() if n not in fresh_shapes}
    values = fit(arrays, read_shapes, path)
    if fresh:
        logger.warning(
            "%s has no %s: starting from random weights (seed %d); fine-tune before use",
            model_name_or_path,
            " and no ".join(
                module.removeprefix("bert.").removesuffix(".dense") for module in fresh
            ),
            seed,
        )
        values.update(_fresh_weights(fresh_shapes, config.initializer_range, seed))
    return _build(config, values)


def load_config(model_name_or_path: str | Path) -> ModelConfig:
    """Read the config of a checkpoint alone.

    Raises:
        InputError: as ``load_model`` does.
    """
    directory = _directory(model_name_or_path)
    return read_model_config(directory) if directory else _locate(model_name_or_path)[0]


def _locate(model_name_or_path: str | Path) -> tuple[ModelConfig, Path]:
    """Give the config and the file of weights."""
    directory = _directory(model_name_or_path)
    if directory is not None:
        return read_model_config(directory), find_weights(directory)
    name = str(model_name_or_path)
    if not is_hub_name(name):
        raise InputError(f"model directory {short(name)} does not exist; check the path")
    values, path = fetch(name)
    return parse_model_config(values, name), path


def _directory(model_name_or_path: str | Path) -> Path | None:
    """Give the directory of that name, checked to be readable and not empty; None without one."""
    path = Path(model_name_or_path)
    if not os.path.exists(path):  # unlike Path.exists, it takes any text for a path
        return None
    require(
        path.is_dir(),
        f"model_name_or_path must be a directory; got the file {path}; type {path.parent}",
    )
    require(
        os.access(path, os.R_OK | os.X_OK),
        f"model directory {path} must be readable; permission denied",
    )
    require(any(path.iterdir()), f"model directory {path} must hold a model; it is empty")
    return path


def _with_new_classes(
    config: ModelConfig, num_classes: int | None, labels: tuple[str, ...]
) -> ModelConfig:
    """Give the config the classes of a fresh classifier; what it says of one was of another."""
    if num_classes is None:
        num_classes = len(labels) or config.num_classes
    return dataclasses.replace(
        config, num_classes=num_classes, labels=labels, task_name=None, num_texts=None
    )


def _with_same_classes(
    config: ModelConfig, num_classes: int | None, labels: tuple[str, ...], where: str
) -> ModelConfig:
    """Check the classes asked for against those the classifier was trained on."""
    require(
        num_classes in (None, config.num_classes),
        f"num_classes must be {config.num_classes}, the size of the classifier in {where}; "
        f"got {num_classes}; use a model trained for that task, or one without classifier",
    )
    require(
        not labels or not config.labels or labels == config.labels,
        f"labels must be {short(list(config.labels))}, as the classifier in {where} has them; "
        f"got {short(list(labels))}",
    )
    if not config.labels and labels != tuple(str(number) for number in range(len(labels))):
        logger.warning(
            "%s does not name its classes: they are taken for %s, in this order; if it was trained "
            "in another one, write that into its config.json (id2label)",
            where,
            ", ".join(labels),
        )
    return dataclasses.replace(config, labels=labels or config.labels)


def _check_fresh(shapes: Mapping[str, Shape], arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Refuse a config that asks for far more fresh weights than there are trained ones."""
    wanted = sum(math.prod(shape) for shape in shapes.values())
    found = sum(array.size for array in arrays.values())
    require(
        wanted <= MAX_FRESH * found,
        f"weights {path} must hold most of the model; they hold {found} numbers, and its config "
        f"asks for {wanted} fresh ones",
    )


def _fresh_weights(
    shapes: Mapping[str, Shape], initializer_range: float, seed: int
) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        name: np.zeros(shape, np.float32)
        if name.endswith("bias")
        else generator.normal(0.0, initializer_range, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def _build(config: ModelConfig, values: Mapping[str, np.ndarray]) -> BertForSequenceClassification:
    model = BertForSequenceClassification(config)
    for name, parameter in model.named_parameters():
        parameter.set_value(values[name])
    model.eval()
    return model
