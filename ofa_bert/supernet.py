"""The supernet: a model sorted by importance, and the widths trained in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ofa_bert.checkpoint.files import read_json, write_json
from ofa_bert.checkpoint.load import load_model
from ofa_bert.checkpoint.save import save_model
from ofa_bert.data.tokenizer import Tokenizer
from ofa_bert.deploy import versions
from ofa_bert.errors import InputError
from ofa_bert.extraction import extract
from ofa_bert.importance import Importance
from ofa_bert.model_config import ModelConfig
from ofa_bert.nn.bert import BertForSequenceClassification
from ofa_bert.reordering import importance_order, reorder
from ofa_bert.safe_text import short
from ofa_bert.subnet import Subnet, full_subnet, resolve_widths, subnet_at_width

SUPERNET = "supernet.json"
MAX_WIDTHS = 1000
MAX_NUMBER = 1e300


@dataclass(frozen=True)
class Supernet:
    """A full-size network of which any prefix of heads and neurons is a good smaller one."""

    model: BertForSequenceClassification
    """Its heads and neurons stand in order of importance."""
    widths: dict[float, Subnet]
    """The widths trained, widest first, each with its sub-network."""
    importance: Importance
    """Scores, in the order of the original model; ``importance_order`` of them is the model's."""

    def subnet(self, width_mult: float) -> Subnet:
        """Resolve any width, trained or not, to its sub-network."""
        return subnet_at_width(self.model.config, width_mult)


def make_supernet(
    model: BertForSequenceClassification,
    importance: Importance,
    width_mult_list: Sequence[float],
) -> Supernet:
    """Copy a model and sort the copy's heads and neurons by importance.

    Args:
        model: stays as it is, so that it can be the teacher.
        importance: from ``score_importance(model, ...)``.
        width_mult_list: widths to train, 1.0 among them.

    Raises:
        InputError: if two widths resolve to the same sub-network or are written alike.
    """
    widths = resolve_widths(model.config, width_mult_list)
    copy = extract(model, full_subnet(model.config))
    reorder(copy, importance_order(importance))
    return Supernet(copy, widths, importance)


def save_supernet(supernet: Supernet, directory: Path, tokenizer: Tokenizer) -> None:
    """Write a supernet's directory: a plain model and supernet.json."""
    save_model(supernet.model, directory, tokenizer)
    config = supernet.model.config
    write_json(
        Path(directory) / SUPERNET,
        {
            "width_mult_list": list(supernet.widths),
            "importance": {
                "heads": [scores.tolist() for scores in supernet.importance.heads],
                "neurons": [scores.tolist() for scores in supernet.importance.neurons],
            },
            "task_name": config.task_name,
            "labels": list(config.labels),
            "versions": versions(),
        },
    )


def is_supernet(directory: str | Path) -> bool:
    """Tell a supernet's directory from a plain model's."""
    return (Path(directory) / SUPERNET).exists()


def load_supernet(directory: str | Path) -> Supernet:
    """Read what ``save_supernet`` wrote.

    Raises:
        InputError: if the directory holds no supernet, or one that is damaged.
    """
    directory = Path(directory)
    if directory.is_dir() and not is_supernet(directory):
        raise InputError(
            f"{directory} holds no {SUPERNET}: it is not a supernet; "
            "make one with run_glue_ofa.py --output_dir"
        )
    model = load_model(str(directory))
    with _described(directory) as described:
        return Supernet(
            model=model,
            widths=_widths(model.config, described),
            importance=Importance(**_scores(model.config, described["importance"])),
        )


def trained_widths(directory: str | Path, config: ModelConfig) -> dict[float, Subnet]:
    """Read only the widths that a supernet was trained for, widest first.

    Raises:
        InputError: if they cannot be read.
    """
    with _described(Path(directory)) as described:
        return _widths(config, described)


@contextmanager
def _described(directory: Path) -> Iterator[dict[str, Any]]:
    """Give the contents of supernet.json; what does not fit them is the file's fault."""
    path = directory / SUPERNET
    described = read_json(path, "supernet description")
    try:
        yield described
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} is not as run_glue_ofa.py writes it: {error}") from None


def _widths(config: ModelConfig, described: Mapping[str, Any]) -> dict[float, Subnet]:
    widths = _numbers(described["width_mult_list"])
    if not 0 < len(widths) <= MAX_WIDTHS:
        raise ValueError(f"width_mult_list must hold 1 to {MAX_WIDTHS} widths; got {len(widths)}")
    return resolve_widths(config, widths)


def _scores(config: ModelConfig, lists: dict[str, Any]) -> dict[str, Any]:
    """Read the scores of each layer's heads and neurons, checked against the model's sizes."""
    arrays = {}
    for name, sizes in [
        ("heads", config.num_attention_heads),
        ("neurons", config.intermediate_size),
    ]:
        arrays[name] = tuple(np.array(_numbers(values)) for values in lists[name])
        if [len(values) for values in arrays[name]] != list(sizes):
            raise ValueError(f"{name} must hold {short(list(sizes))} numbers, by layer")
    return arrays


def _numbers(values: Any) -> list[float]:
    """Give a list of numbers as floats: JSON may hold anything in their place."""
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise ValueError(f"numbers must stand in a list; got {short(values)}")
    numbers = [float(value) for value in values]
    if not all(abs(number) <= MAX_NUMBER for number in numbers):
        raise ValueError(f"numbers must be finite; got {short(values)}")
    return numbers
