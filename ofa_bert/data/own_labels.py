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
FEWEST_ROWS = 3
"""Of a file whose first row can be seen to be a header."""


def own_labels(path: Path, columns: Columns) -> tuple[str, ...]:
    """Give the classes of a file, in order; none where its labels are numbers to predict.

    Raises:
        InputError: if the file cannot be read, holds one class alone, or has a header although its
            columns are given by number.
    """
    found = read_labels(path, columns)
    labels = class_labels(found)
    if len(labels) == 1:
        raise InputError(f"{path} must hold at least two labels; got {labels[0]!r} alone")
    if labels and columns.numbered:
        _check_no_header(path, columns, found)
    return labels


def class_labels(found: Counter[str]) -> tuple[str, ...]:
    """Give the classes among labels, in order; none where they are numbers to predict.

    They are, if one is a number that is not whole and at least half of the rows have numbers. Else
    each is a class, whole numbers in the order of their values and other labels in that of their
    characters. Among numbers ``nan`` and ``inf`` are no class. Either way the reader then names the
    lines of those that do not fit in.

    Args:
        found: how many rows have each label.
    """
    numbers = {label: _number(label) for label in found}
    finite = {label: n for label, n in numbers.items() if n is not None and math.isfinite(n)}
    rows = sum(found[label] for label in finite)
    if any(not number.is_integer() for number in finite.values()) and 2 * rows >= found.total():
        return ()
    if None in numbers.values():
        return tuple(sorted(found))
    return tuple(sorted(finite, key=lambda label: (finite[label], label)))


def _number(label: str) -> float | None:
    try:
        return float(label)
    except ValueError:
        return None


def _check_no_header(path: Path, columns: Columns, found: Counter[str]) -> None:
    """Raise ``InputError`` if the first row can only be a header.

    That is: its label is the one word that occurs once, while the others occur again or are
    numbers, and its texts could be names. A file so short that this is no news is believed.
    """
    once = [label for label, count in found.items() if count == 1 and _number(label) is None]
    if len(once) != 1 or found.total() < FEWEST_ROWS:
        return
    line, row = next(read_rows(path, columns))
    if isinstance(row, BadRowError):
        return
    names = [str(row[name]) for name in columns.names]
    if names[-1].strip() != once[0] or not all(NAME.fullmatch(name) for name in names):
        return
    *texts, label = names
    raise InputError(
        f"{path}, line {line} looks like a header: no other row has the label {short(label)}; "
        f"name the columns instead of numbering them (--text_columns {' '.join(map(repr, texts))} "
        f"--label_column {label!r}), or add a header if this line is a row"
    )
