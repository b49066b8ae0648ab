"""GLUE from the Hugging Face hub, for those who have not its files."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from ofa_bert.data.readers import Example
from ofa_bert.data.tasks import DEV, Task
from ofa_bert.errors import InputError

REPOSITORY = "nyu-mll/glue"
TIMEOUT_S = 5.0

PAIR = ("sentence1", "sentence2")
COLUMNS = {
    "SST-2": ("sentence",),
    "CoLA": ("sentence",),
    "MRPC": PAIR,
    "STS-B": PAIR,
    "QQP": ("question1", "question2"),
    "MNLI": ("premise", "hypothesis"),
    "QNLI": ("question", "sentence"),
    "RTE": PAIR,
    "WNLI": PAIR,
}
"""Text columns there, which are not named as in the original files."""


def fetch_glue(
    task: Task, *, need_train: bool = True
) -> tuple[list[Example], dict[str, list[Example]]]:
    """Fetch a task through the ``datasets`` package, which keeps it in its own cache.

    Returns:
        Training rows (empty unless ``need_train``), and development rows by split.

    Raises:
        InputError: if the package is missing or the hub cannot be reached; set HF_HUB_OFFLINE=1
            to use what the package has in its cache.
    """
    splits = _load(task)
    train = hub_examples(task, splits["train"]) if need_train else []
    dev = {
        split: hub_examples(task, splits["validation" if split == DEV else f"validation_{split}"])
        for split in task.dev_files
    }
    return train, dev


def hub_examples(task: Task, rows: Any) -> list[Example]:
    """Turn the hub's rows, whose labels are numbers, into ours.

    Args:
        task: what the rows are of.
        rows: a ``datasets.Dataset``.
    """
    names = None if task.regression else rows.features["label"].names
    labels = [_label(task, value, names) for value in rows["label"]]
    texts, *pairs = (rows[name] for name in COLUMNS[task.name])
    text_pairs = pairs[0] if pairs else [None] * len(labels)
    return [Example(*row) for row in zip(texts, text_pairs, labels, strict=True)]


def _label(task: Task, value: float, names: list[str] | None) -> str | float:
    if names is None:
        return float(value)
    # The hub's class order is its own; where it names classes as the files do, the name counts,
    # and where the files say 0 and 1, so does the hub.
    name = names[int(value)]
    return name if name in task.labels else str(int(value))


def _load(task: Task) -> Mapping[str, Any]:
    try:
        import datasets
    except ImportError:
        raise _offline(task, "the package `datasets`, which fetches it, is not installed") from None
    # The package would try for half a minute before it gives up.
    if not os.environ.get("HF_HUB_OFFLINE") and not _hub_answers():
        raise _offline(task, "the Hugging Face hub does not answer")
    try:
        return datasets.load_dataset(REPOSITORY, task.name.lower().replace("-", ""))
    except (OSError, ValueError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise _offline(task, f"fetching it failed ({lines[0]})") from None


def _hub_answers() -> bool:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        request = urllib.request.Request(endpoint, method="HEAD")
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return True
    except urllib.error.HTTPError:
        return True  # It answered; what to is no matter.
    except (OSError, ValueError):
        return False


def _offline(task: Task, found: str) -> InputError:
    return InputError(
        f"{task.name} must be on this machine or fetched from the hub; got no data_dir, and "
        f"{found}; pass --data_dir with the task's tsv files, or your own --train_file and "
        "--dev_file"
    )
