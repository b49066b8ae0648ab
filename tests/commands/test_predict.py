"""python -m ofa_bert predict: labels for lines of a file or of standard input."""

from __future__ import annotations

import io
import json
import shutil

import pytest

from ofa_bert import cli
from ofa_bert.checkpoint.load import load_model
from ofa_bert.commands.predict import chunks
from ofa_bert.errors import InputError
from tests.commands.expected import logits_of, script
from tests.oracles import softmax
from tests.runs import LABELS, flags, run, sentences


def expected_answers(work, texts):
    probabilities = softmax(logits_of(load_model(work / "dynamic" / "width_mult_0.5"), texts))
    return [(LABELS[p.argmax()], p.max()) for p in probabilities]


def check_answers(out, expected):
    found = [line.split("\t") for line in out.splitlines()]
    assert [label for label, _ in found] == [label for label, _ in expected]
    # Four decimals are printed.
    assert [float(p) for _, p in found] == pytest.approx([p for _, p in expected], abs=1e-4)


def test_predict_labels_a_file_in_order(exported, tmp_path):
    work, _ = exported
    texts = sentences(9, seed=3)
    (tmp_path / "in.txt").write_text("\n".join(texts) + "\n")
    model = work / "static" / "width_mult_0.5"
    argv = flags(model=model, input=tmp_path / "in.txt", batch_size=4)
    result = run(cli.main, ["predict", *argv])
    assert (result.code, result.err) == (0, "")
    check_answers(result.out, expected_answers(work, texts))


def test_predict_labels_standard_input(exported):
    work, _ = exported
    texts = sentences(5, seed=4)
    argv = ["predict", *flags(model=work / "static" / "width_mult_0.5")]
    result = script("-m", "ofa_bert", *argv, stdin="\n".join(texts))
    assert (result.returncode, result.stderr) == (0, "")
    check_answers(result.stdout, expected_answers(work, texts))


def test_answers_are_utf_8_whatever_the_encoding_of_the_terminal(exported, tmp_path, monkeypatch):
    static = tmp_path / "static"
    shutil.copytree(exported[0] / "static" / "width_mult_0.5", static)
    said = json.loads((static / "deploy.json").read_text())
    (static / "deploy.json").write_text(json.dumps({**said, "labels": ["差", "好"]}))
    (tmp_path / "in.txt").write_text("w1 w2\n")
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    argv = ["predict", *flags(model=static, input=tmp_path / "in.txt")]
    result = script("-m", "ofa_bert", *argv, encoding="utf-8")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout[0] in "差好"


@pytest.mark.parametrize(
    ("num_texts", "lines", "message"),
    [
        (1, "a\nb\tc\n", "line 2: must hold 0 tabs, as the model labels single texts; got 1"),
        (1, "a\tb\n", "line 1: must hold 0 tabs, as the model labels single texts; got 1"),
        (2, "a\tb\nc\n", "line 2: must hold 1 tabs, as the model labels pairs of texts; got 0"),
        (2, "a\tb\tc\n", "line 1: must hold 1 tabs, as the model labels pairs of texts; got 2"),
        (None, "a\tb\nc\n", "line 2: must hold 1 tabs, as the first line does; got 0"),
    ],
)
def test_a_line_of_another_number_of_texts_is_named(num_texts, lines, message):
    with pytest.raises(InputError, match=f"^input x, {message}$"):
        list(chunks(io.StringIO(lines), "x", num_texts))


def test_lines_of_the_number_of_texts_that_the_model_takes():
    assert list(chunks(io.StringIO("a\nb\n"), "x", 1)) == [(["a", "b"], None)]
    assert list(chunks(io.StringIO("a\tb\n"), "x", 2)) == [(["a"], ["b"])]
    assert list(chunks(io.StringIO("a\tb\n"), "x")) == [(["a"], ["b"])]


def test_a_model_of_single_texts_labels_no_pairs(exported, tmp_path):
    model = exported[0] / "static" / "width_mult_0.5"
    said = json.loads((model / "deploy.json").read_text())
    assert said["num_texts"] == 1
    (tmp_path / "in.txt").write_text("w1 w2\tw3\n")
    argv = ["predict", *flags(model=model, input=tmp_path / "in.txt")]
    result = run(cli.main, argv)
    assert (result.code, result.out) == (2, "")
    assert "in.txt, line 1: must hold 0 tabs" in result.err
    # An export of before says nothing: the first line decides.
    shutil.copytree(model, tmp_path / "old")
    del said["num_texts"]
    (tmp_path / "old" / "deploy.json").write_text(json.dumps(said))
    argv[argv.index(str(model))] = str(tmp_path / "old")
    assert run(cli.main, argv).code == 0
