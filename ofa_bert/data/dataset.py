"""A task's labelled texts: a GLUE task's own files, a user's files, or the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ofa_bert.config import DataConfig
from ofa_bert.data.hub import fetch_glue
from ofa_bert.data.own_labels import own_labels
from ofa_bert.data.readers import Example, read_examples
from ofa_bert.data.rows import Columns
from ofa_bert.data.tasks import DEV, Task, find_task, is_task, same_task
from ofa_bert.errors import InputError

CLASS_METRICS = ("accuracy",)
NUMBER_METRICS = ("pearson", "spearman")
WHAT_TO_READ = (
    "say what to read: --task_name with --data_dir, or --dev_file (and --train_file) with "
    "--text_columns and --label_column"
)


@dataclass(frozen=True)
class TaskData:
    """Labelled texts, with what the labels mean and how answers are scored."""

    name: str
    labels: tuple[str, ...]
    """Label of each class, by index; empty for a regression."""
    regression: bool
    metrics: tuple[str, ...]
    """Names ``metrics.compute_metrics`` knows."""
    train: list[Example]
    """Empty where it was not asked for."""
    dev: dict[str, list[Example]]
    """By split: ``dev``; MNLI has ``matched`` and ``mismatched``."""
    hub_labels: tuple[str, ...] = ()
    """Other names of the classes, by index, in any case; see ``Task``."""

    @property
    def has_pairs(self) -> bool:
        """Whether each text comes with a second one."""
        rows = [*self.train[:1], *(row for split in self.dev.values() for row in split[:1])]
        return any(row.text_pair is not None for row in rows)


@dataclass(frozen=True)
class _Files:
    columns: Columns
    train: Path | None
    dev: Mapping[str, Path]


def load_task(
    config: DataConfig,
    *,
    need_train: bool = True,
    known_labels: tuple[str, ...] = (),
    regression: bool = False,
) -> TaskData:
    """Read the texts a config names.

    A GLUE task knows its labels. In a user's own files they are those of the training file: numbers
    with a fraction among them make a regression, else each is a class; see ``own_labels``.

    Args:
        config: a GLUE task with ``data_dir``, or own files, or a GLUE task alone, which is
            fetched from the hub.
        need_train: whether to read training rows; without them own files take their labels from
            ``known_labels``, or else from the development file.
        known_labels: labels of a model that is already trained.
        regression: whether a model that is already trained predicts a number; own files are then
            read as numbers even where all are whole.

    Raises:
        InputError: if the task is unknown, files are missing or malformed, or a label of the
            development rows is not among those of the training rows.
    """
    task = _find_task(config) if _needs_task(config) else None
    if config.data_dir is None and config.train_file is None and config.dev_file is None:
        assert task is not None, "_needs_task asks for one when there are no files"
        train, dev = fetch_glue(task, need_train=need_train)
        return _task_data(task, _first(train, config), dev)
    files = _find_files(config, task, need_train)
    if task is None:
        return _load_own(config, files, known_labels, regression)
    train = _read(files.train, files, config, task.labels, task.regression)
    dev = {
        split: _read(path, files, config, task.labels, task.regression)
        for split, path in files.dev.items()
    }
    return _task_data(task, _first(train, config), dev)


def check_labels(
    model_labels: Sequence[str],
    num_classes: int,
    data_labels: Sequence[str],
    hub_labels: Sequence[str] = (),
) -> tuple[str, ...]:
    """Agree on one label order for a trained model and a data set; the model's order wins.

    Args:
        model_labels: label of each of the model's classes; empty where it does not say.
        num_classes: width of the model's logits.
        data_labels: labels of the data; empty for a regression.
        hub_labels: other names of these, in the same order, which a model may bear in any case.

    Returns:
        The data's label of each class, by index.

    Raises:
        InputError: if the labels differ, or, where the model does not say, their number.
    """
    expected = max(len(data_labels), 1)  # A regression has one output and no labels.
    if not model_labels and num_classes == expected:
        return tuple(data_labels)
    other_names = dict(zip(map(str.lower, hub_labels), data_labels, strict=False))
    labels = [
        label if label in data_labels else other_names.get(label.lower(), label)
        for label in model_labels
    ]
    if labels and sorted(labels) == sorted(data_labels):
        return tuple(labels)
    hint = "check --task_name and --model_name_or_path"
    if len(labels) == expected:
        hint += (
            "; if the classes are the same, write the data's names, in the model's order, into "
            "its config.json (id2label, or labels where it has that)"
        )
    raise InputError(
        f"labels of the model must be those of the data; got {_named(model_labels, num_classes)} "
        f"for the model and {_named(data_labels, expected)} for the data; {hint}"
    )


def _named(labels: Sequence[str], num_classes: int) -> str:
    if labels:
        return str(list(labels))
    return "one number (regression)" if num_classes == 1 else f"{num_classes} unnamed classes"


def _needs_task(config: DataConfig) -> bool:
    own_files = config.train_file is not None or config.dev_file is not None
    return is_task(config.task_name) or not own_files


def _find_task(config: DataConfig) -> Task:
    if config.task_name == DataConfig.task_name:  # nobody typed it
        raise InputError(f"rows must be named; got none; {WHAT_TO_READ}")
    try:
        return find_task(config.task_name)
    except InputError as error:
        raise InputError(f"{error}; or {WHAT_TO_READ}") from None


def _task_data(task: Task, train: list[Example], dev: dict[str, list[Example]]) -> TaskData:
    return TaskData(
        name=task.name,
        labels=task.labels,
        regression=task.regression,
        metrics=task.metrics,
        train=train,
        dev=dev,
        hub_labels=task.hub_labels or task.labels,
    )


def _find_files(config: DataConfig, task: Task | None, need_train: bool) -> _Files:
    columns = _columns(config, task)
    if config.data_dir is not None:
        if config.train_file is not None or config.dev_file is not None:
            raise InputError(
                "data_dir must not be given together with train_file or dev_file; "
                f"got {config.data_dir!r} and own files; pass one or the other"
            )
        assert task is not None, "data_dir is for GLUE tasks"
        folder = Path(config.data_dir)
        if not folder.is_dir():
            raise InputError(f"data_dir must be a directory; got {config.data_dir!r}")
        train = folder / task.train_file if need_train else None
        dev = {split: folder / name for split, name in task.dev_files.items()}
        for file in filter(None, (train, *dev.values())):
            _check_is_there(file, task)
        return _Files(columns, train, dev)
    for name, path in [("train_file", config.train_file), ("dev_file", config.dev_file)]:
        if path is None and (need_train or name == "dev_file"):
            raise InputError(f"{name} must be given with your own files; got none; type --{name}")
    train = Path(config.train_file) if need_train and config.train_file else None
    return _Files(columns, train, {DEV: Path(str(config.dev_file))})


def _check_is_there(path: Path, task: Task) -> None:
    """Raise ``InputError`` if the file is missing and the folder of all tasks was given."""
    if path.exists():
        return
    nearby = [
        p for p in sorted(path.parent.iterdir()) if p.is_dir() and same_task(p.name, task.name)
    ]
    if nearby:
        raise InputError(
            f"data_dir must hold {path.name} of {task.name}; got {str(path.parent)!r}, which does "
            f"not; did you mean --data_dir {nearby[0]}?"
        )


def _columns(config: DataConfig, task: Task | None) -> Columns:
    text = config.text_columns or (task.text_columns if task else ())
    label = config.label_column or (task.label_column if task else None)
    original = task.name if task and config.data_dir and not config.text_columns else None
    columns = Columns(text, label, original)
    if label is None:
        raise InputError(
            "label_column must name the label's column; got none; type --label_column label"
        )
    return columns


def _load_own(
    config: DataConfig, files: _Files, known_labels: tuple[str, ...], regression: bool
) -> TaskData:
    labels = known_labels
    if files.train is not None or not known_labels:
        labels = () if regression else own_labels(files.train or files.dev[DEV], files.columns)
    regression = not labels
    train = _read(files.train, files, config, labels, regression)
    dev = {DEV: _read(files.dev[DEV], files, config, labels, regression)}
    return TaskData(
        name=config.task_name,
        labels=labels,
        regression=regression,
        metrics=NUMBER_METRICS if regression else CLASS_METRICS,
        train=_first(train, config),
        dev=dev,
    )


def _read(
    path: Path | None,
    files: _Files,
    config: DataConfig,
    labels: tuple[str, ...],
    regression: bool,
) -> list[Example]:
    if path is None:
        return []
    return read_examples(
        path,
        files.columns,
        labels=None if regression else labels,
        regression=regression,
        skip_bad_rows=config.skip_bad_rows,
    )


def _first(examples: list[Example], config: DataConfig) -> list[Example]:
    limit = config.max_train_examples
    return examples if limit == -1 else examples[:limit]
