"""The nine GLUE tasks: where their files keep texts and labels, and how answers are scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ofa_bert.errors import InputError, nearest

DEV = "dev"
BINARY = ("0", "1")
ENTAILMENT = ("entailment", "not_entailment")


@dataclass(frozen=True)
class Task:
    """One GLUE task (arXiv:1804.07461) in the files its authors published.

    All nine are tab-separated without quoting: a quote mark is a character of the text.
    """

    name: str
    text_columns: tuple[str, ...]
    """One or two column names; 0-based numbers where the file has no header."""
    label_column: str
    """Name of the label's column, or its number."""
    labels: tuple[str, ...] = BINARY
    """Label of each class, by index; empty for a regression."""
    hub_labels: tuple[str, ...] = ()
    """Names of these classes on the Hugging Face hub, and so in models that were trained there with
    ``run_glue.py``; empty where they are those of ``labels``."""
    metrics: tuple[str, ...] = ("accuracy",)
    """Names ``metrics.compute_metrics`` knows; their mean is the task's score."""
    train_file: str = "train.tsv"
    dev_files: Mapping[str, str] = field(default_factory=lambda: {DEV: "dev.tsv"})
    """File of each development split, by the split's name."""

    @property
    def regression(self) -> bool:
        """Whether the label is a number to predict rather than a class."""
        return not self.labels


TASKS = (
    Task("SST-2", ("sentence",), "label", hub_labels=("negative", "positive")),
    # No header: source, label, the author's mark, sentence.
    Task("CoLA", ("3",), "1", hub_labels=("unacceptable", "acceptable"), metrics=("mcc",)),
    Task(
        "MRPC",
        ("#1 String", "#2 String"),
        "Quality",
        hub_labels=("not_equivalent", "equivalent"),
        metrics=("accuracy", "f1"),
    ),
    Task("STS-B", ("sentence1", "sentence2"), "score", labels=(), metrics=("pearson", "spearman")),
    Task(
        "QQP",
        ("question1", "question2"),
        "is_duplicate",
        hub_labels=("not_duplicate", "duplicate"),
        metrics=("accuracy", "f1"),
    ),
    # PaddleNLP's order, alphabetical. Hugging Face's is entailment, neutral, contradiction: a
    # teacher from there carries its own order, and that one then wins (dataset.check_labels).
    Task(
        "MNLI",
        ("sentence1", "sentence2"),
        "gold_label",
        labels=("contradiction", "entailment", "neutral"),
        dev_files={"matched": "dev_matched.tsv", "mismatched": "dev_mismatched.tsv"},
    ),
    Task("QNLI", ("question", "sentence"), "label", labels=ENTAILMENT),
    Task("RTE", ("sentence1", "sentence2"), "label", labels=ENTAILMENT),
    Task(
        "WNLI",
        ("sentence1", "sentence2"),
        "label",
        hub_labels=("not_entailment", "entailment"),
    ),
)


def is_task(name: str) -> bool:
    """Say whether ``name`` is a GLUE task, in any case, with or without ``-`` and ``_``."""
    return _plain(name) in _BY_PLAIN_NAME


def same_task(first: str, second: str) -> bool:
    """Say whether two names of tasks, GLUE or other, differ in case, ``-`` and ``_`` at most."""
    return _plain(first) == _plain(second)


def find_task(name: str) -> Task:
    """Find a GLUE task by a name in any case, with or without ``-`` and ``_``: ``sst2``.

    Raises:
        InputError: if there is none of that name; says the nearest.
    """
    if not is_task(name):
        names = [task.name for task in TASKS]
        raise InputError(f"task_name must be a GLUE task; got {name!r}; {nearest(name, names)}")
    return _BY_PLAIN_NAME[_plain(name)]


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


_BY_PLAIN_NAME = {_plain(task.name): task for task in TASKS}
