"""What the commands write and where, that they repeat themselves, and that no row is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ofa_bert import cli
from ofa_bert.commands.demo import write_base
from ofa_bert.commands.predict import ROWS_AT_ONCE
from ofa_bert.data.tokenizer import load_tokenizer
from ofa_bert.predictor import Predictor
from tests.data.make_golden import GOLDEN, logits_of
from tests.oracles import softmax
from tests.runs import contents, flags, run, sentences

ROOT = Path(__file__).parent.parent
LABELS = ("bad", "good", "so-so")
COMMANDS = """
import contextlib, sys
import export_model
from ofa_bert import cli
from ofa_bert.command import run_command

def run(main, *argv):
    assert run_command(main, argv) == 0, argv

out, model, data = sys.argv[1:]
rows = ("--dev_file", data + "/dev.tsv", "--task_name", "golden", "--text_columns", "sentence",
        "--label_column", "label", "--max_seq_length", "16", "--n_gpu", "0")
run(cli.main, "evaluate", "--model_name_or_path", model, *rows)
run(export_model.main, "--model_name_or_path", model, "--width_mult", "1/2", *rows,
    "--sub_model_output_dir", out + "/dynamic", "--static_sub_model", out + "/static")
run(cli.main, "predict", "--model", out + "/static", "--input", data + "/lines.txt",
    "--batch_size", "4")
"""
# import paddle fails without a temporary folder to try a file in; it must be empty at the end.
READ_ONLY = """
for kept in "$OUT/dynamic" "$OUT/static" "$OFA_BERT_CACHE" "$TMPDIR"; do
  mount --bind "$kept" "$kept"
done
mount -o remount,bind,ro /
exec "$@"
"""


def namespace() -> list[str]:
    """Give the command that runs another one where all but its output and cache is read-only."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
    if shutil.which("unshare") is None or os.path.ismount("/tmp"):
        return []
    tried = subprocess.run([*command, "mount -o remount,bind,ro /"], capture_output=True)
    return [*command, READ_ONLY, "sh"] if tried.returncode == 0 else []


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eleven labelled rows and nine lines: odd numbers, and not multiples of a batch."""
    folder = tmp_path_factory.mktemp("data")
    rows = [f"{text}\t{LABELS[i % 3]}" for i, text in enumerate(sentences(11, 1))]
    (folder / "dev.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
    (folder / "lines.txt").write_text("\n".join(sentences(9, 2)) + "\n")
    return folder


def run_all(folder, data, prefix):
    """Run evaluate, export_model and predict in a new process; give what they said."""
    places = {n: folder / n for n in ("home", "tmp", "cwd", "out", "cache", "model")}
    for name, place in places.items():
        place.mkdir() if name != "model" else shutil.copytree(GOLDEN / "supernet", place)
    for name in ("dynamic", "static"):
        (places["out"] / name).mkdir()
    before = {name: contents(folder / name) for name in ("home", "tmp", "cwd", "model")}
    child = subprocess.run(
        [*prefix, sys.executable, "-c", COMMANDS, "../out", "../model", str(data)],
        cwd=places["cwd"],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HOME": str(places["home"]),
            "TMPDIR": str(places["tmp"]),
            "OFA_BERT_CACHE": str(places["cache"]),
            "OUT": str(places["out"]),
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert child.returncode == 0, child.stderr
    after = {name: contents(folder / name) for name in ("home", "tmp", "cwd", "model")}
    assert after == before, "something was written where nothing belongs"
    return child.stdout


@pytest.fixture(scope="module")
def twice(tmp_path_factory, data):
    """Two runs, each in a directory of its own; the second may write nowhere else, if possible."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    said = [run_all(folder, data, p) for folder, p in zip(folders, [[], namespace()], strict=True)]
    return folders, said


def test_they_write_into_their_output_and_the_cache_alone(twice):
    (_, second), _ = twice
    assert {path.name for path in (second / "out").iterdir()} == {"dynamic", "static"}
    assert [path.suffix for path in (second / "cache").iterdir()] == [".npz"]
    if not namespace():
        pytest.skip(
            "no mount namespaces here: only home, temporary and working folder were watched"
        )


def test_they_give_the_same_bits_twice(twice):
    (first, second), (said, again) = twice
    assert contents(first / "out") == contents(second / "out")
    assert contents(first / "cache") == contents(second / "cache")
    assert said == again
    assert "width 1.0: accuracy" in said
    assert len(said.splitlines()) == 1 + 3 + 2 + 9  # rows; widths 1.0, 0.75, 0.5; export; lines


def test_the_demos_data_and_model_are_the_same_twice(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "data").mkdir(parents=True)
        write_base(tmp_path / name, seed=7)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert "base/model.safetensors" in contents(tmp_path / "a")


def expected_answers(distinct):
    """Give the label and its probability for each text, from the oracle."""
    encoded = load_tokenizer(GOLDEN / "static").encode(distinct, None, 16)
    probabilities = softmax(np.array(logits_of("sub_model", encoded.input_ids)))
    return {
        text: (LABELS[row.argmax()], row.max())
        for text, row in zip(distinct, probabilities, strict=True)
    }


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_no_answer_is_lost_doubled_or_out_of_place(batch_size):
    expected = expected_answers(sentences(20, 3))
    rows = list(np.random.default_rng(4).choice(list(expected), 61))
    answers = Predictor(GOLDEN / "static").predict(rows, batch_size=batch_size)
    assert [answer.label for answer in answers] == [expected[row][0] for row in rows]
    scores = [expected[row][1] for row in rows]
    assert [answer.score for answer in answers] == pytest.approx(scores, abs=1e-5)


def test_no_line_is_lost_where_predict_begins_a_new_portion(tmp_path):
    expected = expected_answers(sentences(20, 3))
    rows = list(np.random.default_rng(5).choice(list(expected), ROWS_AT_ONCE + 3))
    (tmp_path / "lines.txt").write_text("\n".join(rows))  # without an end of line at the end
    result = run(
        cli.main, ["predict", *flags(model=GOLDEN / "static", input=tmp_path / "lines.txt")]
    )
    assert (result.code, result.err) == (0, "")
    found = [line.split("\t") for line in result.out.splitlines()]
    assert [label for label, _ in found] == [expected[row][0] for row in rows]
    # Four decimals are printed.
    printed = [float(score) for _, score in found]
    assert printed == pytest.approx([expected[row][1] for row in rows], abs=6e-5)
