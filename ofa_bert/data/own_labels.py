"""What the labels of a user's own file are: classes, or numbers to predict."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

from ofa_bert.data.readers import read_labels
from ofa_bert.data.rows import BadRowError, Columns, read_rows
from ofa_bert.errors import InputError
from ofa_bert.safe_text import short

NAME = re.compile(r"[\w #.-]{1,40}")
"""What the name of a column looks like, and few texts do."""
LABEL_NAMES = frozenset(
    [
        *("label", "labels", "label_id", "gold_label", "class", "classes", "category", "target"),
        *("score", "scores", "rating", "stars", "sentiment", "polarity", "intent", "topic", "tag"),
        *("标签", "类别"),
    ]
)
"""What a column of labels is called, in lower case. Not ``y``, which is also a label beside n."""
MISSING = frozenset(["", "#n/a", "<na>", "n/a", "na", "nan", "none", "null", "-", "?"])
"""How a table writes that there is no value, in lower case: as ``pandas.read_csv`` reads it, and
the ``-`` and ``?`` of other tables."""


def own_labels(path: Path, columns: Columns) -> tuple[str, ...]:
    """Give the classes of a file, in order; none where its labels are numbers to predict.

    Raises:
        InputError: if the file cannot be read, holds one class alone, writes a number in two
            ways, or has a header although its columns are given by number.
    """
    found = read_labels(path, columns)
    labels = class_labels(found)
    if len(labels) == 1:
        raise InputError(f"{path} must hold at least two labels; got {labels[0]!r} alone")
    _check_distinct(path, labels, found)
    if labels and columns.numbered and path.suffix.lower() != ".jsonl":  # which has no header
        _check_no_header(path, columns, found)
    return labels


def class_labels(found: Counter[str]) -> tuple[str, ...]:
    """Give the classes among labels, in order; none where they are numbers to predict.

    They are, if each is a number or says that there is none (``MISSING``), and one of them is not
    whole; the reader then names the lines without a number. Else each is a class, whole numbers in
    the order of their values and other labels in that of their characters. Among numbers ``nan``
    and ``inf`` are no class: the reader names their lines too.

    Args:
        found: how many rows have each label.
    """
    numbers = {label: _number(label) for label in found}
    finite = {label: n for label, n in numbers.items() if n is not None and math.isfinite(n)}
    if all(map(_is_numeric, found)) and any(not n.is_integer() for n in finite.values()):
        return ()
    if None in numbers.values():
        return tuple(sorted(found))
    return tuple(sorted(finite, key=lambda label: (finite[label], label)))


def _number(label: str) -> float | None:
    try:
        return float(label)
    except ValueError:
        return None


def _is_numeric(label: str) -> bool:
    return _number(label) is not None or label.lower() in MISSING


def _check_distinct(path: Path, labels: tuple[str, ...], found: Counter[str]) -> None:
    """Raise ``InputError`` if two labels are the same number, as 1 and 1.0 of tables put together.

    Beside words they could be names: of versions, say.
    """
    if not all(map(_is_numeric, labels)):
        return
    written: dict[float, str] = {}
    for label in labels:
        number = _number(label)
        if number is None:
            continue
        first = written.setdefault(number, label)
        if first != label:
            raise InputError(
                f"{path} must write each class in one way; got {short(first)} in {found[first]} "
                f"rows and {short(label)} in {found[label]}, the same number; write one of them"
            )


def _check_no_header(path: Path, columns: Columns, found: Counter[str]) -> None:
    """Raise ``InputError`` if the first row can only be a header.

    That is: no other row has its label, which is what such a column is called or the only one that
    is no number, and its texts could be names.
    """
    line, row = next(read_rows(path, columns))
    if isinstance(row, BadRowError):
        return
    names = [str(row[name]) for name in columns.names]
    first = names[-1].strip()
    if found[first] != 1 or _is_numeric(first) or not all(map(NAME.fullmatch, names)):
        return
    if first.lower() not in LABEL_NAMES and not all(_is_numeric(x) for x in found if x != first):
        return
    *texts, label = names
    raise InputError(
        f"{path}, line {line} looks like a header: no other row has the label {short(label)}; "
        f"name the columns instead of numbering them (--text_columns {' '.join(map(repr, texts))} "
        f"--label_column {label!r}), or add a header if this line is a row"
    )
