"""Labelled texts from tsv, csv and jsonl files, row by row, each mistake with its line."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ofa_bert.data.rows import BadRowError, Columns, read_rows
from ofa_bert.errors import MAX_NAME, MAX_NAMES, InputError
from ofa_bert.safe_text import is_label, short

logger = logging.getLogger(__name__)

MAX_NUMBER = (2 - 2**-23) * 2.0**127
"""The largest float32, which labels become."""
SKIP_HINT = "mend it, or pass --skip_bad_rows to leave such rows out"


@dataclass(frozen=True)
class Example:
    """One row: a text or a pair, with its label where it has one."""

    text: str
    text_pair: str | None = None
    label: str | float | None = None
    """The class as written in the file; a number for a regression."""


def read_examples(
    path: str | Path,
    columns: Columns,
    *,
    labels: Sequence[str] | None = None,
    regression: bool = False,
    skip_bad_rows: bool = False,
) -> list[Example]:
    r"""Read the rows of a file; its suffix says how: ``.tsv`` or ``.txt``, ``.csv``, ``.jsonl``.

    In a tsv file a quote mark is a character like any other; in a csv file fields may be quoted
    and then span up to 1000 lines. Lines end with ``\n`` or ``\r\n`` and nowhere else; blank
    lines at the end of the file and a byte order mark at its start are passed over.

    Args:
        path: the file, UTF-8.
        columns: where texts and label stand.
        labels: the labels allowed; None: any.
        regression: whether labels are read as numbers.
        skip_bad_rows: leave malformed rows out and log how many, instead of stopping.

    Raises:
        InputError: if the file is missing, empty, of another suffix or lacks a column; if a row
            is malformed (its line number and fault are named) and not to be skipped; if no row
            is left.
    """
    path = Path(path)
    examples, faults = [], []
    for line, row in read_rows(path, columns):
        try:
            if isinstance(row, BadRowError):
                raise row
            examples.append(_example(row, columns, labels, regression))
        except BadRowError as fault:
            message = f"{path}, line {line}: {fault}"
            if not skip_bad_rows:
                raise InputError(f"{message}; {SKIP_HINT}") from None
            faults.append(message)
    if not examples:
        first = f"; the first: {faults[0]}" if faults else ""
        raise InputError(
            f"{path} must hold at least one good row; got {len(faults)} malformed{first}"
        )
    if faults:
        logger.warning(
            "%d malformed rows left out of %s; the first: %s", len(faults), path, faults[0]
        )
    return examples


def read_labels(path: str | Path, columns: Columns) -> Counter[str]:
    """Count the labels of a file, as written; malformed rows are passed over.

    Raises:
        InputError: if the file is missing, empty, of another suffix or lacks a column.
    """
    found: Counter[str] = Counter()
    for _, row in read_rows(Path(path), columns):
        try:
            label = None if isinstance(row, BadRowError) else _label(row, columns)
        except BadRowError:
            continue  # read_examples reports or counts it.
        if label is not None:
            found[label] += 1
    return found


def _example(
    row: Mapping[str, object], columns: Columns, labels: Sequence[str] | None, regression: bool
) -> Example:
    text, *pair = (_text(row, name) for name in columns.text)
    label = _label(row, columns)
    if label is None:
        return Example(text, *pair)
    if regression:
        return Example(text, pair[0] if pair else None, _number(label))
    if labels is not None and label not in labels:
        raise BadRowError(f"label must be one of {_listed(labels)}; got {short(label)}")
    return Example(text, pair[0] if pair else None, label)


def _text(row: Mapping[str, object], name: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise BadRowError(f"{name} must be text; got {short(value)}")
    if not value.strip():
        raise BadRowError(f"{name} must not be empty")
    if not _is_unicode(value):
        raise BadRowError(f"{name} must be UTF-8 text; got bytes that are not")
    return value


def _label(row: Mapping[str, object], columns: Columns) -> str | None:
    if columns.label is None:
        return None
    value = row[columns.label]
    if value is None or isinstance(value, (list, dict)):
        raise BadRowError(f"{columns.label} must hold a label; got {short(value)}")
    # JSON also has numbers and truth values; they are written as the file writes them.
    label = value.strip() if isinstance(value, str) else json.dumps(value)
    if not label:
        raise BadRowError(f"{columns.label} must hold a label; got {short(value)}")
    if not is_label(label):
        raise BadRowError(f"{columns.label} must hold a label of one line; got {short(value)}")
    return label


def _listed(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - MAX_NAMES} more" if len(labels) > MAX_NAMES else ""
    return ", ".join(label[:MAX_NAME] for label in labels[:MAX_NAMES]) + more


def _number(label: str) -> float:
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadRowError(f"label must be a finite number; got {short(label)}")
    if abs(number) > MAX_NUMBER:
        raise BadRowError(f"label must be at most {MAX_NUMBER:.2g}; got {short(label)}")
    return number


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
