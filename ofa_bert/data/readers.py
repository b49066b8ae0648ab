"""Labelled texts from tsv, csv and jsonl files, row by row, each mistake with its line."""

from __future__ import annotations

import codecs
import csv
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ofa_bert.checkpoint.files import check_fits_memory
from ofa_bert.errors import MAX_NAME, MAX_NAMES, InputError, nearest
from ofa_bert.safe_text import is_label, short

logger = logging.getLogger(__name__)

SKIP_HINT = "mend it, or pass --skip_bad_rows to leave such rows out"
MEMORY_OF_A_BYTE = 4
"""The bytes, their text, its lines and the examples."""
SUFFIXES = (".tsv", ".txt", ".csv", ".jsonl")


@dataclass(frozen=True)
class Example:
    """One row: a text or a pair, with its label where it has one."""

    text: str
    text_pair: str | None = None
    label: str | float | None = None
    """The class as written in the file; a number for a regression."""


@dataclass(frozen=True)
class Columns:
    """Where a file keeps its texts and its label."""

    text: tuple[str, ...]
    """One or two names. 0-based numbers say that a tsv or csv file has no header."""
    label: str | None = None
    """A name or a number; None reads texts alone."""

    def __post_init__(self) -> None:
        if len(self.text) not in (1, 2):
            raise InputError(
                f"text_columns must name one or two columns; got {list(self.text)}; "
                "type e.g. --text_columns sentence --label_column label"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Text columns, then the label's."""
        return self.text if self.label is None else (*self.text, self.label)

    @property
    def numbered(self) -> bool:
        """Whether columns are given by number, so that the first row is data."""
        return all(name.isdecimal() for name in self.names)


class BadRowError(Exception):
    """What is wrong with one row."""


Row = tuple[int, Mapping[str, object] | BadRowError]
"""Line number, from 1, and the row by column name, or what is wrong with it."""


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
    and then span lines. Lines end with ``\n`` or ``\r\n`` and nowhere else; blank lines at the
    end of the file and a byte order mark at its start are passed over.

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
    for line, row in _rows(path, columns):
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


def read_labels(path: str | Path, columns: Columns) -> set[str]:
    """Collect the labels of a file, as written; malformed rows are passed over.

    Raises:
        InputError: if the file is missing, empty, of another suffix or lacks a column.
    """
    found = set()
    for _, row in _rows(Path(path), columns):
        try:
            if not isinstance(row, BadRowError):
                found.add(_label(row, columns))
        except BadRowError:
            continue  # read_examples reports or counts it.
    return {label for label in found if label is not None}


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
    return number


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _rows(path: Path, columns: Columns) -> Iterator[Row]:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"data file must end in one of {', '.join(SUFFIXES)}; got {path.name!r}; "
            "rename it after its form"
        )
    lines = _lines(path)
    if suffix == ".jsonl":
        return _json_rows(lines, columns)
    records = _csv_records(lines) if suffix == ".csv" else _tsv_records(lines)
    return _table_rows(path, records, columns)


def _lines(path: Path) -> list[str]:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise InputError(f"data file must be a file; got {path}, a pipe or device")
        check_fits_memory(path, "data file", times=MEMORY_OF_A_BYTE)
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except FileNotFoundError:
        raise InputError(f"data file must exist; got {path}, which does not") from None
    except OSError as error:
        raise InputError(f"data file {path} cannot be read: {error.strerror}") from None
    # Bytes that are not UTF-8 become lone surrogates here, and an error with its line later.
    text = content.decode("utf-8", errors="surrogateescape").rstrip("\r\n")
    if not text.strip():
        raise InputError(f"data file must hold rows; got {path}, which is empty")
    # Not splitlines(): it also cuts at U+2028, U+0085 and others that stand inside real texts.
    return [line.removesuffix("\r") for line in text.split("\n")]


def _tsv_records(lines: list[str]) -> Iterator[tuple[int, list[str] | BadRowError]]:
    for number, line in enumerate(lines, start=1):
        yield number, line.split("\t")


def _csv_records(lines: list[str]) -> Iterator[tuple[int, list[str] | BadRowError]]:
    reader = csv.reader((line + "\n" for line in lines), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            yield number, next(reader)
        except csv.Error as error:
            yield number, BadRowError(f"row must be valid csv; got a mistake: {error}")
        except StopIteration:
            return


def _table_rows(
    path: Path, records: Iterator[tuple[int, list[str] | BadRowError]], columns: Columns
) -> Iterator[Row]:
    number, first = next(records)
    if isinstance(first, BadRowError):
        raise InputError(f"{path}, line {number}: {first}")
    header = [str(i) for i in range(len(first))] if columns.numbered else first
    for name in columns.names:
        if name not in header:
            raise InputError(_missing_column(path, name, header, columns.numbered))
    if columns.numbered:
        yield number, dict(zip(header, first, strict=True))
    for number, record in records:
        if isinstance(record, BadRowError):
            yield number, record
        elif len(record) != len(header):
            yield (
                number,
                BadRowError(f"row must have {len(header)} fields; got {len(record)}"),
            )
        else:
            yield number, dict(zip(header, record, strict=True))


def _missing_column(path: Path, name: str, header: list[str], numbered: bool) -> str:
    if numbered:
        return (
            f"{path} must have a column number {name}; got {len(header)} columns, "
            f"0 to {len(header) - 1}"
        )
    return (
        f"{path} must have a column {name!r}; got others; {nearest(name, header)}; "
        "name columns with --text_columns and --label_column (0-based numbers: no header)"
    )


def _json_rows(lines: list[str], columns: Columns) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            yield number, BadRowError("row must be one JSON object; got broken JSON")
            continue
        if not isinstance(row, dict):
            yield number, BadRowError(f"row must be a JSON object; got {line[:40]!r}")
            continue
        missing = [name for name in columns.names if name not in row]
        if missing:
            hint = nearest(missing[0], islice(row, MAX_NAMES))
            yield number, BadRowError(f"row must have a key {missing[0]!r}; got others; {hint}")
        else:
            yield number, row
