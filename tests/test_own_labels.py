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
    ],
)
def test_a_header_under_numbered_columns_is_no_class(tmp_path, labels):
    rows = [("sentence", labels[0]), *((f"text {i}", x) for i, x in enumerate(labels[1:]))]
    path = write(tmp_path / "a.tsv", rows)
    expected = (
        r"line 1 looks like a header: .* \(--text_columns 'sentence' --label_column 'label'\)"
    )
    with pytest.raises(InputError, match=expected):
        own_labels(path, NUMBERED)
    assert own_labels(path, Columns(("sentence",), "label")) == tuple(sorted(set(labels[1:])))


@pytest.mark.parametrize(
    "rows",
    [
        # Too few rows, or too many labels that come once, to tell.
        [("good", "pos"), ("bad", "neg")],
        [("a", "x"), ("b", "y"), ("c", "z")],
        # Comes again; is not the first; is a number.
        [("a", "x"), ("b", "y"), ("c", "x"), ("d", "y")],
        [("a", "x"), ("b", "y"), ("c", "x")],
        [("a", "9"), ("b", "1"), ("c", "1")],
        # No column is named like that.
        [("A film, they say!", "rare"), ("b", "1"), ("c", "1"), ("d", "2")],
        [("word " * 20, "rare"), ("b", "1"), ("c", "1"), ("d", "2")],
    ],
)
def test_a_first_row_that_may_be_data_is(tmp_path, rows):
    labels = own_labels(write(tmp_path / "a.tsv", rows), NUMBERED)
    assert labels == tuple(sorted({label for _, label in rows}))


def test_a_header_over_scores_is_a_row_without_a_number(tmp_path):
    rows = [("sentence", "score"), *((f"text {i}", i / 4) for i in range(9))]
    assert own_labels(write(tmp_path / "a.tsv", rows), NUMBERED) == ()


def test_one_class_alone_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"a.tsv must hold at least two labels; got 'x' alone"):
        own_labels(write(tmp_path / "a.tsv", [("a", "x"), ("b", "x")]), NUMBERED)


def test_the_real_chinese_files():
    with_header = shared("data/chnsenticorp/test.labeled.tsv")
    with pytest.raises(InputError, match=r"line 1 looks like a header: .*label"):
        own_labels(with_header, Columns(("1",), "0"))
    without = shared("data/chnsenticorp/train.tsv")
    assert own_labels(without, NUMBERED) == ("negative", "positive")
