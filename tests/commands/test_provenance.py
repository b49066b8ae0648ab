"""What a run says of the files it read, whatever happens to them and wherever it goes on."""

from __future__ import annotations

import hashlib

import pytest
import yaml

from ofa_bert import cli
from ofa_bert.checkpoint.load import load_model
from ofa_bert.checkpointing import Checkpoints
from tests.commands.expected import dev_accuracy, read_results
from tests.runs import finetune_argv, flags, run, write_rows


def test_files_replaced_while_a_run_trains_are_not_those_it_names(work, tmp_path, monkeypatch):
    train_file, save = tmp_path / "train.tsv", Checkpoints.save
    write_rows(train_file, 26, seed=1)
    read = hashlib.sha256(train_file.read_bytes()).hexdigest()

    def replace_and_save(self, *args):
        write_rows(train_file, 26, seed=3)
        save(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", replace_and_save)
        result = run(cli.main, finetune_argv(work, tmp_path / "run", train_file=train_file))
    assert result.code == 0, result.err
    assert hashlib.sha256(train_file.read_bytes()).hexdigest() != read
    assert read_results(tmp_path / "run")["inputs"][str(train_file)] == read
    again = run(cli.main, ["rerun", str(tmp_path / "run" / "results.json")])
    assert (again.code, "so do: file train.tsv: was " in again.out) == (0, True), again.err


@pytest.fixture
def stopped(work, tmp_path, monkeypatch):
    """A run of ../dev.tsv and ../out, begun in a/b and stopped after its first checkpoint."""
    save = Checkpoints.save

    def save_and_stop(self, *args):
        save(self, *args)
        raise KeyboardInterrupt

    (tmp_path / "a" / "b").mkdir(parents=True)
    write_rows(tmp_path / "a" / "dev.tsv", 11, seed=2)
    monkeypatch.chdir(tmp_path / "a" / "b")
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_stop)
        argv = finetune_argv(work, "../out", dev_file="../dev.tsv", overwrite_output_dir=True)
        with pytest.raises(KeyboardInterrupt):
            run(cli.main, argv)
    return tmp_path / "a" / "out"


def test_a_run_resumed_elsewhere_remembers_its_rows_from_there(
    work, stopped, tmp_path, monkeypatch
):
    (tmp_path / "c").mkdir()
    write_rows(tmp_path / "dev.tsv", 30, seed=9)  # what the first ../dev.tsv would be from c
    monkeypatch.chdir(tmp_path / "c")
    changes = {"dev_file": "../a/dev.tsv", "resume": True}
    result = run(cli.main, finetune_argv(work, "../a/out", **changes))
    assert result.code == 0, result.err
    settings = yaml.safe_load((stopped / "train_config.yaml").read_text())
    results = read_results(stopped)
    assert settings == results["settings"]
    assert (settings["dev_file"], results["started_in"]) == ("../a/dev.tsv", f"{tmp_path}/c")
    assert "../a/dev.tsv" in results["inputs"]
    accuracy = dev_accuracy(tmp_path / "a", load_model(stopped))
    for place in (tmp_path / "c", tmp_path / "a" / "b", tmp_path):
        monkeypatch.chdir(place)
        argv = flags(model_name_or_path=stopped, n_gpu=0, log_level="warning")
        result = run(cli.main, ["evaluate", *argv])
        assert (result.code, result.err) == (0, "")
        assert f"model: accuracy {accuracy:.4f}" in result.out


def test_a_run_that_overwrote_goes_on_from_its_own_settings(stopped):
    argv = ["finetune", "--config", str(stopped / "train_config.yaml"), "--resume"]
    result = run(cli.main, argv)
    assert result.code == 0, result.err
    assert read_results(stopped)["kept_step"] in (4, 6)
