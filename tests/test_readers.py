import logging

import numpy as np
import pytest

from ofa_bert.data.readers import Example, read_examples, read_labels
from ofa_bert.data.rows import Columns
from ofa_bert.data.tasks import find_task
from ofa_bert.errors import InputError
from tests.shared_data import shared

SINGLE = Columns(("text",), "label")
PAIR = Columns(("a", "b"), "label")


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def columns_of(task_name):
    task = find_task(task_name)
    return Columns(task.text_columns, task.label_column)


def test_quotes_in_mrpc_are_characters(tmp_path):
    path = write(
        tmp_path,
        "dev.tsv",
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
        '1\t10\t11\tHe said .\t" We do not .\r\n'
        '0\t12\t13\t"Open\tand "" shut"\r\n',
    )
    assert read_examples(path, columns_of("MRPC"), labels=("0", "1")) == [
        Example("He said .", '" We do not .', "1"),
        Example('"Open', 'and "" shut"', "0"),
    ]


def test_cola_has_no_header(tmp_path):
    path = write(tmp_path, "train.tsv", "gj04\t1\t\tOur friends.\ngj04\t0\t*\tThey cat.\n")
    assert read_examples(path, columns_of("CoLA"), labels=("0", "1")) == [
        Example("Our friends.", None, "1"),
        Example("They cat.", None, "0"),
    ]


def test_sts_b_is_read_as_numbers(tmp_path):
    path = write(tmp_path, "dev.tsv", "index\tsentence1\tsentence2\tscore\n0\ta\tb\t3.75\n")
    assert read_examples(path, columns_of("STS-B"), regression=True) == [Example("a", "b", 3.75)]


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_only_line_feeds_end_lines(tmp_path, separator):
    text = f"one{separator}line"
    tsv = write(tmp_path, "a.tsv", f"text\tlabel\r\n{text}\t1\r\n\r\n\n")
    assert read_examples(tsv, SINGLE) == [Example(text, None, "1")]
    csv = write(tmp_path, "a.csv", f'text,label\n"{text}",1\n\n')
    assert read_examples(csv, SINGLE) == [Example(text, None, "1")]


def test_jsonl_labels_are_text_numbers_or_truth_values(tmp_path):
    lines = [f'{{"a": "x", "b": "y", "label": {label}}}' for label in ('"pos"', "2", "true")]
    path = write(tmp_path, "a.jsonl", "\n".join(lines) + "\n")
    assert [e.label for e in read_examples(path, PAIR)] == ["pos", "2", "true"]
    assert read_examples(path, PAIR)[0] == Example("x", "y", "pos")


def test_texts_alone_need_no_label(tmp_path):
    path = write(tmp_path, "a.tsv", "text\nhello\n")
    assert read_examples(path, Columns(("text",))) == [Example("hello")]


@pytest.mark.parametrize(
    ("name", "row", "fault"),
    [
        ("a.tsv", "x\ty\t1", "row must have 2 fields; got 3"),
        ("a.tsv", "", "row must have 2 fields; got 1"),
        ("a.tsv", " \t1", "text must not be empty"),
        ("a.tsv", "x\t", "label must hold a label; got ''"),
        ("a.tsv", "x\t2", "label must be one of 0, 1; got '2'"),
        ("a.tsv", b"\xff\xfe\t1", "text must be UTF-8 text; got bytes that are not"),
        ("a.csv", "x,y,1", "row must have 2 fields; got 3"),
        ("a.csv", '"x"y,1', "row must be valid csv; got a mistake"),
        ("a.jsonl", '{"text": "x", "label": ', "row must be one JSON object; got broken JSON"),
        ("a.jsonl", "[1]", r"row must be a JSON object; got '\[1\]'"),
        ("a.jsonl", '{"text": 3, "label": 1}', "text must be text; got 3"),
        ("a.jsonl", '{"text": "x", "label": null}', "label must hold a label; got None"),
        ("a.jsonl", '{"text": "x", "label": [1]}', r"label must hold a label; got \[1\]"),
        ("a.jsonl", '{"texts": "x", "label": 1}', "must have a key 'text'; .*did you mean 'texts'"),
        ("a.jsonl", '{"text": "\\ud800", "label": 1}', "text must be UTF-8 text"),
    ],
)
def test_a_malformed_row_is_named_with_its_line_or_skipped(tmp_path, caplog, name, row, fault):
    row = row if isinstance(row, bytes) else row.encode()
    header, good = {
        "a.tsv": (b"text\tlabel", b"fine\t1"),
        "a.csv": (b"text,label", b"fine,1"),
        "a.jsonl": (b'{"text": "first", "label": "0"}', b'{"text": "fine", "label": 1}'),
    }[name]
    path = write(tmp_path, name, b"\n".join([header, good, row, good, b""]))
    with pytest.raises(InputError, match=rf"{name}, line 3: .*{fault}.*; .*--skip_bad_rows"):
        read_examples(path, SINGLE, labels=("0", "1"))
    with caplog.at_level(logging.WARNING):
        kept = read_examples(path, SINGLE, labels=("0", "1"), skip_bad_rows=True)
    assert [e.text for e in kept][-2:] == ["fine", "fine"]
    assert "1 malformed rows left out" in caplog.text


@pytest.mark.parametrize("number", ["oops", "nan", "inf", "-inf"])
def test_a_regression_label_must_be_a_finite_number(tmp_path, number):
    path = write(tmp_path, "a.tsv", f"text\tlabel\nx\t1.5\ny\t{number}\n")
    with pytest.raises(InputError, match=f"line 3: label must be a finite number; got '{number}'"):
        read_examples(path, SINGLE, regression=True)


@pytest.mark.parametrize("number", ["3.5e38", "-1e39"])
def test_a_regression_label_must_be_one_that_float32_holds(tmp_path, number):
    path = write(tmp_path, "a.tsv", f"text\tlabel\nx\t-3.4e38\ny\t{number}\n")
    message = f"line 3: label must be at most 3.4e\\+38; got '{number}'; mend it"
    with pytest.raises(InputError, match=message):
        read_examples(path, SINGLE, regression=True)
    kept = read_examples(path, SINGLE, regression=True, skip_bad_rows=True)
    assert [np.float32(e.label) for e in kept] == [np.float32(-3.4e38)]


@pytest.mark.parametrize(("name", "sign"), [("a.tsv", "\t"), ("a.csv", ",")])
def test_a_column_that_is_read_has_a_name_of_its_own(tmp_path, name, sign):
    rows = [["text", "label", "other", "label", "other"], ["fine", "1", "x", "0", "y"]]
    path = write(tmp_path, name, "".join(f"{sign.join(row)}\n" for row in rows))
    with pytest.raises(InputError, match=f"{name} must have one column 'label'; got 2; rename"):
        read_examples(path, SINGLE)
    assert read_examples(path, Columns(("text",)))[0].text == "fine"  # what is not read may be


def test_a_file_of_bad_rows_is_an_error_even_when_they_may_be_skipped(tmp_path):
    path = write(tmp_path, "a.tsv", "text\tlabel\n\t1\n\t1\n")
    with pytest.raises(
        InputError, match=r"at least one good row; got 2 malformed; the first: .*2:"
    ):
        read_examples(path, SINGLE, skip_bad_rows=True)


@pytest.mark.parametrize("content", ["", "\n\r\n", "\ufeff"])
def test_an_empty_file_is_an_error(tmp_path, content):
    path = write(tmp_path, "a.tsv", content)
    with pytest.raises(InputError, match=r"must hold rows; got .*a.tsv, which is empty"):
        read_examples(path, SINGLE)


def test_a_header_alone_is_an_error(tmp_path):
    with pytest.raises(InputError, match="at least one good row; got 0 malformed"):
        read_examples(write(tmp_path, "a.tsv", "text\tlabel\n"), SINGLE)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"data file must exist; got .*none.tsv"):
        read_examples(tmp_path / "none.tsv", SINGLE)
    with pytest.raises(InputError, match=r"must end in one of .*; got 'a\.xls'"):
        read_examples(tmp_path / "a.xls", SINGLE)
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(InputError, match=r"folder.tsv cannot be read: Is a directory"):
        read_examples(tmp_path / "folder.tsv", SINGLE)


def test_a_missing_column_names_the_nearest(tmp_path):
    path = write(tmp_path, "a.tsv", "sentence\tlabel\nx\t1\n")
    with pytest.raises(InputError, match=r"a column 'sentense'; .*did you mean 'sentence'"):
        read_examples(path, Columns(("sentense",), "label"))
    with pytest.raises(InputError, match="a column number 2; got 2 columns, 0 to 1"):
        read_examples(path, Columns(("0",), "2"))


@pytest.mark.parametrize("names", [(), ("a", "b", "c")])
def test_one_or_two_text_columns(names):
    with pytest.raises(InputError, match="text_columns must name one or two columns"):
        Columns(names, "label")


def test_labels_are_collected_as_written(tmp_path):
    path = write(tmp_path, "a.tsv", "text\tlabel\nx\tb \ny\ta\nbad\nz\tb\nw\t\n")
    assert read_labels(path, SINGLE) == {"a": 1, "b": 2}
    assert read_labels(path, Columns(("text",))) == {}


@pytest.mark.parametrize(
    ("task", "split", "rows"),
    [
        ("SST-2", "train", 67349),
        ("SST-2", "dev", 872),
        ("MRPC", "train", 3668),
        ("MRPC", "dev", 408),
        ("RTE", "train", 2490),
        ("RTE", "dev", 277),
    ],
)
def test_every_row_of_the_real_glue_files_is_read(task, split, rows):
    path = shared(f"data/glue/{task}/{split}.tsv")
    assert len(read_examples(path, columns_of(task), labels=find_task(task).labels)) == rows


def test_the_real_chinese_files_without_header_are_read():
    columns = Columns(("0",), "1")
    path = shared("data/chnsenticorp/train.tsv")
    assert len(read_examples(path, columns, labels=("negative", "positive"))) == 9600
    labelled = shared("data/chnsenticorp/test.labeled.tsv")
    assert len(read_examples(labelled, Columns(("text_a",), "label"), labels=("0", "1"))) == 1200


def test_names_of_columns_move_no_cursor_and_are_few(tmp_path):
    path = write(tmp_path, "a.tsv", "\t".join(["\x1b[2J", "x" * 10**6, *map(str, range(500))]))
    with pytest.raises(InputError, match=r"known: .*and 402 more; name columns with") as caught:
        read_examples(path, SINGLE)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000
