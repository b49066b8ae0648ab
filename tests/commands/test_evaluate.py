"""python -m ofa_bert evaluate: a model, each width of a supernet, in one process or two."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np

import export_model
from ofa_bert import cli, distributed, runtime
from ofa_bert.arguments import parse_args
from ofa_bert.checkpoint.load import load_model
from ofa_bert.checkpoint.save import save_model
from ofa_bert.commands import evaluate
from ofa_bert.evaluate import EVALUATION_BATCH_SIZE
from ofa_bert.extraction import extract
from ofa_bert.subnet import subnet_at_width
from tests.commands.expected import ROOT, dev_accuracy, supernet_with
from tests.runs import LABELS, data_flags, export_argv, finetune_argv, flags, run, write_rows
from tests.tiny import tiny_config, tiny_model, tiny_tokenizer

WIDTHS = (1.0, 0.75, 0.5)


def test_evaluate_scores_a_model_or_each_width(work, supernet, exported):
    def scores(folder):
        # The data flags are those of the run that made it; a sub-model's card knows no files.
        argv = flags(**data_flags(work, train_file=None), model_name_or_path=folder)
        result = run(cli.main, ["evaluate", *argv])
        assert result.code == 0, result.err
        return dict(re.findall(r"^(.*): accuracy ([\d.]+), score", result.out, re.MULTILINE))

    accuracy = {
        width_mult: f"{dev_accuracy(work, extract(m, subnet_at_width(m.config, width_mult))):.4f}"
        for m in [load_model(supernet[0])]
        for width_mult in WIDTHS
    }
    assert scores(supernet[0]) == {f"width {w}": value for w, value in accuracy.items()}
    assert scores(work / "dynamic" / "width_mult_0.5") == {"model": accuracy[0.5]}


def long_dev_set(work, teacher, folder):
    """Rows for three batches, and the command line that scores the teacher on them."""
    write_rows(folder / "dev.tsv", 2 * EVALUATION_BATCH_SIZE + 5, seed=5)
    changes = {"dev_file": folder / "dev.tsv", "train_file": None}
    return ["evaluate", *flags(**data_flags(work, **changes), model_name_or_path=teacher[0])]


def test_evaluate_in_two_processes_prints_once(work, teacher, tmp_path, monkeypatch):
    argv = long_dev_set(work, teacher, tmp_path)
    launches = []
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "choose_device", lambda device, n_gpu: ("gpu", 2))
        patch.setattr(distributed, "launch", lambda *what: launches.append(what) or 3)
        assert run(cli.main, argv).code == 3
    ((launched, again, processes),) = launches
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PADDLE_")}
    command = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(processes)]
    result = subprocess.run(
        [sys.executable, *command, "--log_dir", str(tmp_path / "log"), launched, *again],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        timeout=500,
    )
    logs = [(tmp_path / "log" / f"workerlog.{rank}").read_text() for rank in (0, 1)]
    assert result.returncode == 0, logs
    accuracy = dev_accuracy(tmp_path, load_model(teacher[0]))
    said = f"model: accuracy {accuracy:.4f}, score {accuracy:.4f}"
    assert [log.count(said) for log in logs] == [1, 0]
    assert "accuracy" not in logs[1]


def test_a_process_evaluates_its_share_of_the_rows(work, teacher, tmp_path, monkeypatch, capsys):
    argv = long_dev_set(work, teacher, tmp_path)[1:]
    configs = parse_args(evaluate.NAME, "", evaluate.GROUPS, argv)
    shares = []

    def gather_rows(values, indices, ranks):
        shares.append(len(indices))
        return np.zeros((2 * EVALUATION_BATCH_SIZE + 5, 2), "float32")

    monkeypatch.setattr("ofa_bert.evaluate.gather_rows", gather_rows)
    for rank in (0, 1):
        evaluate.evaluate(configs, distributed.Ranks(rank, 2))
        assert ("accuracy" in capsys.readouterr().out) == (rank == 0)
    assert shares == [EVALUATION_BATCH_SIZE + 5, EVALUATION_BATCH_SIZE]


def test_rows_that_are_typed_win_over_those_of_the_run(work, supernet, exported, tmp_path):
    other = supernet_with(supernet, tmp_path, data_dir="gone", train_file=None, dev_file=None)
    argv = flags(model_name_or_path=other, dev_file=work / "dev.tsv", n_gpu=0, log_level="warning")
    result = run(cli.main, ["evaluate", *argv])
    assert result.code == 0, result.err
    accuracy = dev_accuracy(work, load_model(supernet[0]))
    assert f"width 1.0: accuracy {accuracy:.4f}" in result.out
    argv = export_argv(other, tmp_path / "dynamic", dev_file=work / "dev.tsv")
    result = run(export_model.main, argv)
    assert result.code == 0, result.err
    assert "parity on 11 rows of the dev set" in result.out


def test_evaluate_from_elsewhere_reads_the_rows_of_the_run(work, teacher, tmp_path, monkeypatch):
    """Started in work/a with ../dev.tsv; there is another ../dev.tsv beside where it is scored."""
    for folder in (work / "a", tmp_path / "b"):
        folder.mkdir()
    monkeypatch.chdir(work / "a")
    changes = {"dev_file": "../dev.tsv", "train_file": "../train.tsv", "max_steps": 1}
    result = run(cli.main, finetune_argv(work, tmp_path / "run", **changes))
    assert result.code == 0, result.err
    write_rows(tmp_path / "dev.tsv", 30, seed=9)
    monkeypatch.chdir(tmp_path / "b")
    argv = flags(model_name_or_path=tmp_path / "run", n_gpu=0, log_level="warning")
    result = run(cli.main, ["evaluate", *argv])
    assert (result.code, result.err) == (0, "")
    accuracy = dev_accuracy(work, load_model(tmp_path / "run"))
    rows = f"dev: 11 rows of {work / 'a'}/../dev.tsv\n"
    assert result.out == rows + f"model: accuracy {accuracy:.4f}, score {accuracy:.4f}\n"


def test_rows_that_changed_since_the_run_are_a_warning(work, teacher, tmp_path):
    write_rows(tmp_path / "dev.tsv", 11, seed=2)
    argv = finetune_argv(work, tmp_path / "run", dev_file=tmp_path / "dev.tsv", max_steps=1)
    assert run(cli.main, argv).code == 0
    write_rows(tmp_path / "dev.tsv", 7, seed=2)
    argv = flags(model_name_or_path=tmp_path / "run", n_gpu=0, log_level="warning")
    result = run(cli.main, ["evaluate", *argv])
    assert result.code == 0
    said = f"the rows of {tmp_path}/dev.tsv are not those that the run in {tmp_path}/run was scored"
    assert said in result.err
    assert f"dev: 7 rows of {tmp_path}/dev.tsv\n" in result.out
    # Typed, they are what was asked for.
    result = run(cli.main, ["evaluate", *argv, "--dev_file", str(tmp_path / "dev.tsv")])
    assert (result.code, result.err) == (0, "")


def test_a_length_that_is_typed_wins_and_is_no_change_of_the_rows(work, tmp_path):
    """128 is what finetune takes where nothing is typed; here the run's length would be taken."""
    config = tiny_config(num_classes=2, labels=LABELS, max_position_embeddings=128)
    model = tiny_model(config, seed=4)  # one whose answers vary
    save_model(model, tmp_path / "long", tiny_tokenizer(tmp_path / "long"))
    write_rows(tmp_path / "dev.tsv", 60, seed=4)
    changes = {"model_name_or_path": tmp_path / "long", "dev_file": tmp_path / "dev.tsv"}
    argv = finetune_argv(work, tmp_path / "run", **changes, max_steps=1, max_seq_length=4)
    assert run(cli.main, argv).code == 0
    accuracy = {n: dev_accuracy(tmp_path, load_model(tmp_path / "run"), n) for n in (4, 128)}
    assert accuracy[4] != accuracy[128]
    argv = flags(model_name_or_path=tmp_path / "run", n_gpu=0, log_level="warning")
    for length, typed in [(4, []), (4, ["4"]), (128, ["128"])]:
        flag = ["--max_seq_length"] if typed else []
        result = run(cli.main, ["evaluate", *argv, *flag, *typed])
        assert (result.code, result.err) == (0, "")
        assert f"model: accuracy {accuracy[length]:.4f}" in result.out
    write_rows(tmp_path / "dev.tsv", 61, seed=4)
    result = run(cli.main, ["evaluate", *argv, "--max_seq_length", "4"])
    assert "are not those that the run in" in result.err


def test_a_sub_model_is_evaluated_at_the_length_it_was_trained_for(work, exported):
    sub_model = work / "dynamic" / "width_mult_0.5"
    values = data_flags(work, task_name=None, train_file=None, max_seq_length=None)
    result = run(cli.main, ["evaluate", *flags(**values, model_name_or_path=sub_model)])
    assert result.code == 0, result.err
    assert f"model: accuracy {dev_accuracy(work, load_model(sub_model)):.4f}" in result.out
