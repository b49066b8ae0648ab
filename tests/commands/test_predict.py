"""python -m ofa_bert predict: labels for lines of a file or of standard input."""

from __future__ import annotations

import pytest

from ofa_bert import cli
from ofa_bert.checkpoint.load import load_model
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
