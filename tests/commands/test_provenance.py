"""What a run says of the files it read, whatever happens to them and wherever it goes on."""

from __future__ import annotations

import hashlib

from ofa_bert import cli
from ofa_bert.checkpointing import Checkpoints
from tests.commands.expected import read_results
from tests.runs import finetune_argv, run, write_rows


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
