"""How a supernet is trained: ``RunConfig`` and ``DistillConfig``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import paddle
from paddle import nn

from ofa_bert.rules import require

LISTS = {
    "n_epochs": "[[1], [2, 3]]",
    "init_learning_rate": "[[0.001], [0.003, 0.001]]",
    "elastic_depth": "[2, 3, 4]",
    "dynamic_batch_size": "[1, 2]",
    "skip_layers": "['conv1']",
    "same_search_space": "[['conv1', 'conv2']]",
}
"""Settings of ``RunConfig`` that are lists, each with what may be typed."""
MAPPING_OPS = {"conv2d": "conv2d", "conv": "conv2d", "linear": "linear", None: None}


@dataclass(frozen=True)
class RunConfig:
    """When which sub-networks are trained."""

    train_batch_size: int | None = None
    """Examples of a batch; with ``total_images`` it says how many batches an epoch has."""
    n_epochs: Sequence[Sequence[int]] | None = None
    """For each task in order, the epochs at which its phases end, excluded: ``[[1], [2, 3]]``."""
    init_learning_rate: Sequence[Sequence[float]] | None = None
    """Learning rate of each phase, for the training script: nothing here reads it."""
    total_images: int | None = None
    """Examples of an epoch."""
    elastic_depth: Sequence[Any] | None = None
    """Choices of the ``depth`` argument of the network's forward."""
    dynamic_batch_size: Sequence[int] | None = None
    """For each task, sub-networks trained on each batch; default 1."""
    skip_layers: Sequence[str] | None = None
    """Names of layers that stay at full size."""
    same_search_space: Sequence[Sequence[str]] | None = None
    """Groups of layers of one width, instead of those found in the network's program."""
    ofa_layers: Mapping[str, Mapping[str, Sequence[Any]]] | None = None
    """Choices of layers, by name, instead of those that ``Convert`` gave them."""

    def __post_init__(self) -> None:
        for name in ("train_batch_size", "total_images"):
            value = getattr(self, name)
            require(
                value is None or (isinstance(value, int) and value > 0),
                f"{name} must be a whole number above 0; got {value!r}",
            )
        self._check_lists()
        self._check_epochs()
        for name in ("init_learning_rate", "dynamic_batch_size"):
            values = getattr(self, name)
            require(
                values is None or self.n_epochs is None or len(values) == len(self.n_epochs),
                f"{name} must have one entry for each of the {len(self.n_epochs or ())} tasks of "
                f"n_epochs; got {values}",
            )
        for count in self.dynamic_batch_size or ():
            require(
                isinstance(count, int) and count > 0,
                f"dynamic_batch_size must be whole numbers above 0; got {self.dynamic_batch_size}",
            )

    def _check_lists(self) -> None:
        for name, example in LISTS.items():
            value = getattr(self, name)
            nested = name in ("init_learning_rate", "same_search_space")
            require(
                value is None or (_is_list(value) and (not nested or all(map(_is_list, value)))),
                f"{name} must be a list such as {example}; got {value!r}",
            )
        layers = {} if self.ofa_layers is None else self.ofa_layers
        known = isinstance(layers, Mapping) and all(
            isinstance(own, Mapping) and all(map(_is_list, own.values())) for own in layers.values()
        )
        require(
            known,
            "ofa_layers must be a dict such as {'conv1': {'expand_ratio': [0.5, 1.0]}}; "
            f"got {self.ofa_layers!r}",
        )

    def _check_epochs(self) -> None:
        if self.n_epochs is None:
            return
        nested = all(isinstance(ends, list | tuple) and ends for ends in self.n_epochs)
        ends = [end for task in self.n_epochs for end in task] if nested else []
        require(
            bool(ends)
            and all(isinstance(end, int) and end > 0 for end in ends)
            and ends == sorted(set(ends)),
            "n_epochs must be a list of ascending epochs for each task, such as [[1], [2, 3]]; "
            f"got {self.n_epochs}",
        )


@dataclass(frozen=True)
class DistillConfig:
    """What the supernet learns from a teacher."""

    lambda_distill: float | None = None
    """Factor of ``calc_distill_loss``; None: 1."""
    teacher_model: nn.Layer | None = None
    """Who answers and never learns; always in eval mode, without gradient."""
    mapping_layers: Sequence[str] | None = None
    """Layers whose outputs are to agree, by their names in both networks."""
    teacher_model_path: str | PathLike[str] | Mapping[str, paddle.Tensor] | None = None
    """Weights for the teacher: a file of ``paddle.save``, or a state dict."""
    distill_fn: Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor] | None = None
    """Loss of the student's and the teacher's output of a layer; None: mean squared error."""
    mapping_op: str | None = None
    """Put on the student's outputs: ``conv2d`` (or ``conv``), ``linear``, or None for nothing."""

    def __post_init__(self) -> None:
        require(
            isinstance(self.teacher_model, nn.Layer),
            f"teacher_model must be a paddle.nn.Layer; got {self.teacher_model!r}",
        )
        op = self.mapping_op.lower() if isinstance(self.mapping_op, str) else self.mapping_op
        require(
            op is None or (isinstance(op, str) and op in MAPPING_OPS),
            f"mapping_op must be conv2d, conv, linear or None; got {self.mapping_op!r}",
        )
        object.__setattr__(self, "mapping_op", MAPPING_OPS[op])
        if self.mapping_layers is not None:
            require(
                not isinstance(self.mapping_layers, str),
                f"mapping_layers must be a list of names; got {self.mapping_layers!r}; "
                f"type [{self.mapping_layers!r}]",
            )
            require(
                _is_list(self.mapping_layers)
                and all(isinstance(name, str) for name in self.mapping_layers),
                f"mapping_layers must be a list of names; got {self.mapping_layers!r}",
            )
            # DataParallel puts this before every name.
            names = tuple(name.removeprefix("_layers.") for name in self.mapping_layers)
            object.__setattr__(self, "mapping_layers", names)
        require(
            self.distill_fn is None or callable(self.distill_fn),
            f"distill_fn must be a function of (student, teacher); got {self.distill_fn!r}",
        )
        weight = self.lambda_distill
        require(
            weight is None or (isinstance(weight, int | float) and weight >= 0),
            f"lambda_distill must be at least 0; got {weight!r}",
        )
        path = self.teacher_model_path
        require(
            path is None or isinstance(path, str | PathLike | Mapping),
            f"teacher_model_path must be a file or a state dict; got {path!r}",
        )


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
