"""Rows of tsv, csv and jsonl files by column name, each with its line or its mistake."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ofa_bert.checkpoint.files import check_fits_memory
from ofa_bert.errors import MAX_NAMES, InputError, nearest

MEMORY_OF_A_BYTE = 4
"""The bytes, their text, its lines and the examples."""
MAX_RECORD_LINES = 1000
"""A stray quote costs reading so many lines again."""
MAX_FIELD = 10_000_000
"""Most characters of a csv field, more than any text has: what a stray quote takes in is read again
for each of its lines."""
SUFFIXES = (".tsv", ".txt", ".csv", ".jsonl")


@dataclass(frozen=True)
class Columns:
    """Where a file keeps its texts and its label."""

    text: tuple[str, ...]
    """One or two names. 0-based numbers say that a tsv or csv file has no header."""
    label: str | None = None
    """A name or a number; None reads texts alone."""
    original_of: str | None = None
    """The GLUE task in whose own files they are."""

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


def read_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """Read a file as its suffix says; see ``readers.read_examples``.

    Raises:
        InputError: if the file is missing, empty, of another suffix, or lacks a column or has two
            of its name.
    """
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
    """Give the records, which may span lines, with the number of their first.

    A stray quote joins all lines to the next one. Where that shows, by a mistake, or by another
    number of fields than the first record has although each line after the first has that number by
    itself, its line alone is at fault, and not the rows below. Other lines are text of the record,
    and none of them is a row.
    """
    begin = width = 0
    while begin < len(lines):
        end = min(begin + MAX_RECORD_LINES, len(lines))
        reader = csv.reader((lines[i] + "\n" for i in range(begin, end)), strict=True)
        record: list[str] | BadRowError
        try:
            record = _next_record(reader)
            width = width or len(record)
            below = lines[begin + 1 : begin + reader.line_num]
            whole = len(record) == width or not all(_has_fields(line, width) for line in below)
            if whole and len(record) != width:
                found = f"{len(record)} in {reader.line_num} lines"
                record = BadRowError(f"row must have {width} fields; got {found}")
        except csv.Error as error:
            record, whole = _csv_mistake(error, ends_before=end < len(lines)), False
        yield begin + 1, record
        begin += reader.line_num if whole else 1


def _has_fields(line: str, count: int) -> bool:
    try:
        return len(_next_record(csv.reader([line], strict=True))) == count
    except csv.Error:
        return False


def _next_record(reader: Iterator[list[str]]) -> list[str]:
    # The limit is of the module and of whoever else uses it: 131,072 characters unless told.
    before = csv.field_size_limit(MAX_FIELD)
    try:
        return next(reader)
    finally:
        csv.field_size_limit(before)


def _csv_mistake(error: csv.Error, *, ends_before: bool) -> BadRowError:
    if ends_before and "unexpected end of data" in str(error):  # the end is ours, not the file's
        return BadRowError(
            f"record must span at most {MAX_RECORD_LINES} lines; got a quote that is still open"
        )
    return BadRowError(f"row must be valid csv; got a mistake: {error}")


def _table_rows(
    path: Path, records: Iterator[tuple[int, list[str] | BadRowError]], columns: Columns
) -> Iterator[Row]:
    number, first = next(records)
    if isinstance(first, BadRowError):
        raise InputError(f"{path}, line {number}: {first}")
    header = [str(i) for i in range(len(first))] if columns.numbered else first
    for name in columns.names:
        if name not in header:
            raise InputError(_missing_column(path, name, header, columns))
        if header.count(name) > 1:
            raise InputError(
                f"{path} must have one column {name!r}; got {header.count(name)}; "
                "rename all but one, or name another"
            )
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


def _missing_column(path: Path, name: str, header: list[str], columns: Columns) -> str:
    if columns.original_of:
        wanted = f"number {name}" if columns.numbered else repr(name)
        return (
            f"{path} must have a column {wanted}, as the original files of {columns.original_of} "
            f"have; got others; {nearest(name, header)}; check --task_name and --data_dir"
        )
    if columns.numbered:
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
