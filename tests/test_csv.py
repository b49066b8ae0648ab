"""The records of csv files: quotes that are closed, quotes that are not, and long fields."""

import csv

import pytest

from ofa_bert.data.readers import Example, read_examples, read_labels
from ofa_bert.data.rows import Columns
from ofa_bert.errors import InputError

SINGLE = Columns(("text",), "label")


def write(folder, name, content):
    path = folder / name
    path.write_text(content)
    return path


def test_csv_fields_may_be_quoted_and_span_lines(tmp_path):
    path = write(tmp_path, "a.csv", 'label,text\n1,"a, ""b""\nc"\n0,plain\n')
    assert read_examples(path, SINGLE) == [
        Example('a, "b"\nc', None, "1"),
        Example("plain", None, "0"),
    ]


def test_a_field_may_be_as_long_as_one_of_a_tsv(tmp_path, monkeypatch):
    limit, text = csv.field_size_limit(), "word " * 60_000
    for name, row in [("a.tsv", f"text\tlabel\n{text}\t1\n"), ("a.csv", f"text,label\n{text},1\n")]:
        assert read_examples(write(tmp_path, name, row), SINGLE) == [Example(text, None, "1")]
    monkeypatch.setattr("ofa_bert.data.rows.MAX_FIELD", 299_999)
    with pytest.raises(
        InputError, match=r"line 2: .* field larger than field limit \(299999\); mend"
    ):
        read_examples(tmp_path / "a.csv", SINGLE)
    assert csv.field_size_limit() == limit  # others read with it


def test_a_broken_csv_header_names_its_line(tmp_path):
    path = write(tmp_path, "a.csv", '"text"x,label\nx,1\n')
    with pytest.raises(InputError, match=r"a.csv, line 1: row must be valid csv"):
        read_examples(path, SINGLE)


def test_the_line_of_a_csv_row_counts_lines_not_rows(tmp_path):
    path = write(tmp_path, "a.csv", 'text,label\n"two\nlines",1\nx,1,2\n')
    with pytest.raises(InputError, match="line 4: row must have 2 fields"):
        read_examples(path, SINGLE)


ROWS = [f"t{i},{i % 2}" for i in range(20)]


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        # Closed nowhere, or where it cannot be: the line is lost, and no other.
        ({3: '"t3,1'}, 19),
        ({3: '"t3,1', 10: 'a "quoted" word,1'}, 19),
        ({3: '"t3,1', 10: '"t10","1"'}, 19),
        # Closed further down, which makes three fields of eight rows. The row that closes it is
        # good by itself: within a field a quote is a character.
        ({3: 'x,"t3', 10: '10",1'}, 19),
        ({0: '"t0,0', 19: '"t19,1'}, 18),
    ],
)
def test_a_stray_quote_in_a_csv_costs_its_line_and_no_other(tmp_path, caplog, changes, kept):
    rows = [changes.get(i, row) for i, row in enumerate(ROWS)]
    path = write(tmp_path, "a.csv", "\n".join(["text,label", *rows]))
    found = [e.text for e in read_examples(path, SINGLE, labels=("0", "1"), skip_bad_rows=True)]
    good = [f"t{i}" for i in range(20) if i not in changes]
    assert [text for text in found if text in good] == good
    assert len(found) == kept
    assert f"{20 - kept} malformed rows left out" in caplog.text
    with pytest.raises(InputError, match=rf"a.csv, line {min(changes) + 2}: row must"):
        read_examples(path, SINGLE)


LETTER = '"Dear all,\nthe film was long, slow and sad\nwe left, early\nBest, Bob",neg,extra'


@pytest.mark.parametrize(
    "record",
    [
        LETTER,
        # Each line of the text has as many fields as a row, but the last one.
        '"one, two\nthree, four\nfive",neg,extra',
        # The second is no csv by itself.
        '"a\n""b""c, d\ne",neg,extra',
    ],
)
def test_lines_of_a_csv_text_are_never_rows(tmp_path, caplog, record):
    path = write(tmp_path, "a.csv", f'text,label\n"fine film",pos\n{record}\n"bad film",neg\n')
    found = [(e.text, e.label) for e in read_examples(path, SINGLE, skip_bad_rows=True)]
    assert found == [("fine film", "pos"), ("bad film", "neg")]
    assert "1 malformed rows left out" in caplog.text
    assert read_labels(path, SINGLE) == {"pos": 1, "neg": 1}
    expected = rf"line 3: row must have 2 fields; got 3 in {len(record.splitlines())} lines; mend"
    with pytest.raises(InputError, match=expected):
        read_examples(path, SINGLE)


def test_a_csv_record_spans_at_most_so_many_lines(tmp_path, monkeypatch):
    monkeypatch.setattr("ofa_bert.data.rows.MAX_RECORD_LINES", 4)
    four = write(tmp_path, "four.csv", 'text,label\n"a\nb\nc\nd",1\nx,0\n')
    assert [e.text for e in read_examples(four, SINGLE)] == ["a\nb\nc\nd", "x"]
    five = write(tmp_path, "five.csv", 'text,label\n"a\nb\nc\nd\ne",1\nx,0\n')
    expected = "line 2: record must span at most 4 lines; got a quote that is still open; mend it"
    with pytest.raises(InputError, match=expected):
        read_examples(five, SINGLE)
    # Where the file itself ends first, or the last line is at fault, that is not the reason.
    for name, rows in [("end.csv", '"a\nb\nc,1'), ("fault.csv", '"a\nb\nc\n"d,1\nx,0')]:
        path = write(tmp_path, name, f"text,label\n{rows}\n")
        with pytest.raises(InputError, match="line 2: row must be valid csv; got a mistake"):
            read_examples(path, SINGLE)


def test_each_stray_quote_costs_reading_few_lines_again(tmp_path, monkeypatch):
    pulled = []
    whole_reader = csv.reader

    def counting(lines, **options):
        return whole_reader((pulled.append(line) or line for line in lines), **options)

    monkeypatch.setattr("ofa_bert.data.rows.MAX_RECORD_LINES", 10)
    monkeypatch.setattr("csv.reader", counting)
    # Each of these opens a quote that the next one closes and opens again, up to the file's end.
    path = write(tmp_path, "a.csv", "text,label\nfine,1\n" + 'x","y\n' * 300)
    assert read_examples(path, SINGLE, skip_bad_rows=True) == [Example("fine", None, "1")]
    assert len(pulled) <= 2 + 300 * 10
