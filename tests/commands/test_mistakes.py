"""Mistakes of the other commands, and how any command says one."""

from __future__ import annotations

import pytest

import run_glue_ofa
from ofa_bert import cli
from tests.commands.expected import data_file
from tests.commands.mistakes import check_mistake
from tests.runs import finetune_argv, flags, ofa_argv, run

OTHER_MISTAKES = {
    "unknown command": (
        lambda work, at: ["finetunes"],
        r"unknown command 'finetunes'; did you mean 'finetune'\?",
    ),
    "no graph": (
        lambda work, at: ["predict", *flags(model=work / "teacher", input=work / "dev.tsv")],
        r"static model directory must hold deploy\.json; got .*teacher, which does not; write",
    ),
    "several graphs": (
        lambda work, at: ["predict", *flags(model=work / "static")],
        r"must hold deploy\.json; got .*static, which does not; it holds several widths: name one "
        r"of them, .*/static/width_mult_0\.5, .*/static/width_mult_1\.0$",
    ),
    "several models to evaluate": (
        lambda work, at: ["evaluate", *flags(model_name_or_path=work / "dynamic", n_gpu=0)],
        r"it has neither; it holds several widths: name one of them, .*/dynamic/width_mult_0\.5",
    ),
    "a graph to evaluate": (
        lambda work, at: [
            "evaluate",
            *flags(model_name_or_path=work / "static" / "width_mult_0.5", n_gpu=0),
        ],
        r"it has neither; it holds a static graph: type python -m ofa_bert predict --model .*_0\.5",
    ),
    "no input": (
        lambda work, at: [
            "predict",
            *flags(model=work / "static" / "width_mult_0.5", input=at / "gone"),
        ],
        r"input .*gone cannot be read: No such file or directory",
    ),
    "a name too long for the system": (
        lambda work, at: finetune_argv(
            work, at / "out", task_name="SST-2", data_dir="o" * 300, train_file=None, dev_file=None
        ),
        r"^error: o{300}: File name too long$",
    ),
    "an output of such a name": (
        lambda work, at: finetune_argv(work, "o" * 300),
        r"^error: o{300}: File name too long$",
    ),
    "a graph of such a name": (
        lambda work, at: ["predict", *flags(model="o" * 300)],
        r"^error: o{300}/deploy\.json: File name too long$",
    ),
    "nothing to evaluate": (
        lambda work, at: [
            "evaluate",
            *flags(model_name_or_path=at / "gone", n_gpu=0, log_level="warning"),
        ],
        r"model directory .*gone.* does not exist; check the path",
    ),
    "teacher of another size": (
        lambda work, at: finetune_argv(
            work,
            at / "out",
            model_name_or_path=work / "teacher",
            train_file=data_file(at, "sentence\tlabel\nw1\ta\nw2\tb\nw3\tc\n"),
            dev_file=at / "data.tsv",
        ),
        r"num_classes must be 2, the size of the classifier in .*teacher; got 3",
    ),
}


@pytest.mark.parametrize("case", OTHER_MISTAKES)
def test_a_mistake_of_another_command(work, exported, tmp_path, case):
    argv, message = OTHER_MISTAKES[case]
    check_mistake(cli.main, argv(work, tmp_path), message, work, tmp_path)


def test_debug_shows_the_traceback(work, teacher, tmp_path):
    argv = ofa_argv(work, tmp_path / "out", train_file=tmp_path / "gone.tsv", log_level="debug")
    result = run(run_glue_ofa.main, argv)
    assert result.code == 2
    assert "Traceback (most recent call last):" in result.err
    assert result.err.splitlines()[-1].startswith("error: data file must exist")


def test_debug_in_a_yaml_file_shows_the_traceback_too(work, teacher, tmp_path):
    (tmp_path / "c.yaml").write_text("log_level: debug\n")
    changes = {"config": tmp_path / "c.yaml", "log_level": None}
    argv = ofa_argv(work, tmp_path / "out", train_file=tmp_path / "gone.tsv", **changes)
    result = run(run_glue_ofa.main, argv)
    assert result.code == 2
    assert "Traceback (most recent call last):" in result.err


def test_a_directory_named_debug_shows_none(work, teacher, tmp_path):
    argv = ofa_argv(work, "debug", train_file=tmp_path / "gone.tsv")
    check_mistake(run_glue_ofa.main, argv, r"data file must exist", work)


def test_too_little_memory_for_a_command_without_batches_is_one_line():
    def main(argv):
        raise MemoryError

    result = run(main, [])
    assert (result.code, result.out) == (2, "")
    expected = "error: out of memory; end other programs, or use a machine with more memory\n"
    assert result.err == expected
