from __future__ import annotations

from collections import Counter

import pytest

from ofa_bert.data.own_labels import class_labels, own_labels
from ofa_bert.data.rows import Columns
from ofa_bert.errors import InputError
from tests.shared_data import shared

NUMBERED = Columns(("0",), "1")


def write(path, rows):
    path.write_text("".join(f"{text}\t{label}\n" for text, label in rows))
    return path


@pytest.mark.parametrize(
    ("found", "labels"),
    [
        ({"10", "9", "-1"}, ("-1", "9", "10")),
        ({"1.0", "0.0"}, ("0.0", "1.0")),
        ({"b", "a", "10", "9"}, ("10", "9", "a", "b")),
        ({"0.5", "1"}, ()),
        ({"0", "1", "nan"}, ("0", "1")),
        ({"nan", "x"}, ("nan", "x")),
        ({"0.5", "1", "nan", "N/A"}, ()),
        ({"0.5": 1, "N/A": 1}, ()),
        # Even where most rows lack a number, however that is written.
        ({"2.5": 1, "n/a": 9, "NULL": 9, "None": 9, "NaN": 9, "<NA>": 9, "-": 9, "?": 9}, ()),
        ({"-0.5", "1e-3", "inf"}, ()),
        # Names that look like numbers, and one that does not.
        ({"2.7": 10, "3.5": 10, "latest": 10}, ("2.7", "3.5", "latest")),
        ({"2.7": 500, "3.5": 400, "latest": 1}, ("2.7", "3.5", "latest")),
        # Words with a number astray are no regression.
        ({"good": 5, "bad": 5, "0.5": 1}, ("0.5", "bad", "good")),
        ({"0": 9, "1": 9, "N/A": 1}, ("0", "1", "N/A")),
    ],
)
def test_the_order_of_own_labels(found, labels):
    assert class_labels(Counter(found)) == labels


@pytest.mark.parametrize(
    "labels",
    [
        ["label", "0", "1"],
        ["label", "3", "1", "2", "5", "4"],
        ["label", "good", "bad", "good", "bad"],
        ["label", "0", "1", "other", "other"],
        ["label", "good"],
        ["label", "0", "0.5", "1.5", "2"],
        ["Label", "0", "other", "once", "1"],
        ["标签", "good", "bad", "fine"],
        # No name of such a column, but the only one that is no number.
        ["polarities", "0", "1", "1", "NA"],
        ["polarities", "0.5", "1"],
    ],
)
def test_a_header_under_numbered_columns_is_no_class(tmp_path, labels):
    rows = [("sentence", labels[0]), *((f"text {i}", x) for i, x in enumerate(labels[1:]))]
    path = write(tmp_path / "a.tsv", rows)
    flags = f"--text_columns 'sentence' --label_column '{labels[0]}'"
    expected = rf"line 1 looks like a header: .* \({flags}\)"
    with pytest.raises(InputError, match=expected):
        own_labels(path, NUMBERED)


def test_a_header_that_names_the_columns_is_no_row(tmp_path):
    path = write(tmp_path / "a.tsv", [("sentence", "label"), ("a", "x"), ("b", "1"), ("c", "x")])
    assert own_labels(path, Columns(("sentence",), "label")) == ("1", "x")


@pytest.mark.parametrize(
    "rows",
    [
        # Other labels are words, and none of these is the name of a column.
        [("good", "pos"), ("bad", "neg")],
        [("a", "x"), ("b", "y"), ("c", "z")],
        # Comes again; is not the first; is a number.
        [("a", "x"), ("b", "y"), ("c", "x"), ("d", "y")],
        [("a", "x"), ("b", "y"), ("c", "x")],
        [("a", "9"), ("b", "1"), ("c", "1")],
        [("a", "NA"), ("b", "1"), ("c", "2"), ("d", "2")],
        [
            ("hi there", "greeting"),
            ("b", "booking"),
            ("c", "music"),
            ("d", "booking"),
            ("e", "music"),
        ],
        [("hi", "pos"), ("bad", "neg"), ("awful", "neg")],
        [("good", "y"), ("bad", "n"), ("awful", "n")],
        [("a", "label"), ("b", "label"), ("c", "1")],
        # No column is named like that.
        [("A film, they say!", "rare"), ("b", "1"), ("c", "1"), ("d", "2")],
        [("word " * 20, "rare"), ("b", "1"), ("c", "1"), ("d", "2")],
    ],
)
def test_a_first_row_that_may_be_data_is(tmp_path, rows):
    labels = own_labels(write(tmp_path / "a.tsv", rows), NUMBERED)
    assert labels == tuple(sorted({label for _, label in rows}))


def test_a_jsonl_file_has_no_header(tmp_path):
    path = tmp_path / "a.JSONL"
    path.write_text("".join(f'{{"0": "hi", "1": {x}}}\n' for x in ('"label"', 1, 2, 2)))
    assert own_labels(path, NUMBERED) == ("1", "2", "label")


def test_one_class_alone_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"a.tsv must hold at least two labels; got 'x' alone"):
        own_labels(write(tmp_path / "a.tsv", [("a", "x"), ("b", "x")]), NUMBERED)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["0", "1", "1", "0.0", "1.0"], "'0' in 1 rows and '0.0' in 1"),
        (["1", "2", "1.0", "1.0", "N/A"], "'1' in 1 rows and '1.0' in 2"),
        (["1", "+1", "2"], r"'\+1' in 1 rows and '1' in 1"),
    ],
)
def test_a_class_written_in_two_ways_is_an_error(tmp_path, labels, said):
    path = write(tmp_path / "a.tsv", [(f"text {i}", label) for i, label in enumerate(labels)])
    expected = f"a.tsv must write each class in one way; got {said}, the same number; write one"
    with pytest.raises(InputError, match=expected):
        own_labels(path, NUMBERED)


@pytest.mark.parametrize("labels", [["1", "1.0", "beta", "beta"], ["0e1", "0e2", "1a2", "1a2"]])
def test_names_that_look_like_the_same_number_are_two_classes(tmp_path, labels):
    path = write(tmp_path / "a.tsv", [(f"text {i}", label) for i, label in enumerate(labels)])
    assert own_labels(path, NUMBERED) == tuple(sorted(set(labels)))


def test_the_real_chinese_files():
    with_header = shared("data/chnsenticorp/test.labeled.tsv")
    with pytest.raises(InputError, match=r"line 1 looks like a header: .*label"):
        own_labels(with_header, Columns(("1",), "0"))
    without = shared("data/chnsenticorp/train.tsv")
    assert own_labels(without, NUMBERED) == ("negative", "positive")
