"""What a directory remembers of its run: data settings, with paths that lead to the same files."""

from __future__ import annotations

import os

import pytest
import yaml

from ofa_bert.checkpoint.files import write_json
from ofa_bert.config import DataConfig
from ofa_bert.errors import InputError
from ofa_bert.remembered import changed_rows, data_settings, found_again
from tests.tiny import tiny_config, tiny_dataset


def write_run(folder, started_in=None, **settings):
    """Write what a run of other settings than data leaves."""
    own = {"task_name": "own", "train_file": "t.tsv", "text_columns": ["a", "b"], "batch_size": 4}
    (folder / "train_config.yaml").write_text(yaml.safe_dump({**own, **settings}))
    if started_in is not None:
        write_json(folder / "results.json", {"started_in": started_in})


def test_data_settings_are_those_of_the_run_and_no_others(tmp_path):
    write_run(tmp_path)
    values = data_settings(tmp_path)
    assert values["text_columns"] == ("a", "b")
    assert values["train_file"] == "t.tsv"
    assert "batch_size" not in values
    assert DataConfig(**values).task_name == "own"


def test_rows_that_are_typed_take_the_place_of_the_runs(tmp_path):
    glue = {"task_name": "SST-2", "data_dir": "glue", "max_seq_length": 16}
    own = {"train_file": "t.tsv", "dev_file": "d.tsv", "text_columns": ["a"], "label_column": "b"}
    for name, settings in [("glue", glue), ("own", {**own, "data_dir": None, "task_name": "own"})]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "train_config.yaml").write_text(yaml.safe_dump(settings))
    files = DataConfig(dev_file="new.tsv")
    assert data_settings(tmp_path / "glue", files) == {"task_name": "SST-2", "max_seq_length": 16}
    assert data_settings(tmp_path / "own", files)["text_columns"] == ("a",)
    folder = DataConfig(data_dir="new")
    assert data_settings(tmp_path / "own", folder) == {"data_dir": None, "task_name": "own"}
    for typed in (DataConfig(), folder):
        assert data_settings(tmp_path / "glue", typed) == glue


def test_without_a_run_the_models_config_tells_task_and_length(tmp_path):
    config = tiny_config(task_name="sst-2", max_seq_length=16)
    write_json(tmp_path / "config.json", config.to_dict())
    assert data_settings(tmp_path) == {"task_name": "sst-2", "max_seq_length": 16}
    write_json(tmp_path / "config.json", tiny_config().to_dict())
    assert data_settings(tmp_path) == data_settings(tmp_path / "gone") == {}
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run")
    write_json(tmp_path / "run" / "config.json", config.to_dict())
    assert data_settings(tmp_path / "run")["task_name"] == "own"


@pytest.fixture
def here_and_there(tmp_path, monkeypatch):
    """Two directories, each with data/dev.tsv beside it; we stand in the first."""
    for name in ("here", "there"):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "work").mkdir()
        (tmp_path / name / "data" / "dev.tsv").write_text(name)
    monkeypatch.chdir(tmp_path / "here" / "work")
    return tmp_path / "there" / "work"


def test_a_relative_path_of_a_run_begins_where_it_was_started(here_and_there, tmp_path):
    write_run(tmp_path, str(here_and_there), dev_file="../data/dev.tsv", train_file="gone.tsv")
    values = data_settings(tmp_path)
    with open(values["dev_file"]) as file:
        assert file.read() == "there"
    assert values["train_file"] == "gone.tsv"  # nothing lies there any more


@pytest.mark.parametrize("started_in", ["", "/gone", "a\x00b", None, 3])
def test_a_relative_path_whose_start_is_unknown_or_gone_begins_here(
    here_and_there, tmp_path, started_in
):
    write_run(tmp_path, started_in, dev_file="../data/dev.tsv")
    assert data_settings(tmp_path)["dev_file"] == "../data/dev.tsv"


def test_a_path_to_the_same_file_stays_as_it_was_written(here_and_there):
    settings = {"dev_file": "../data/dev.tsv", "data_dir": str(here_and_there), "train_file": None}
    assert found_again(settings, os.getcwd()) == settings


def test_rows_that_are_not_those_of_the_run_are_named(tmp_path):
    dev = {"matched": tiny_dataset(5, seed=1), "mismatched": tiny_dataset(5, seed=2)}
    assert changed_rows(tmp_path, dev) == []
    inputs = {f"{name} rows": rows.fingerprint() for name, rows in dev.items()}
    write_json(tmp_path / "run.json", {"inputs": inputs})
    assert changed_rows(tmp_path, dev) == []
    assert changed_rows(tmp_path, {**dev, "mismatched": tiny_dataset(5, seed=3)}) == ["mismatched"]
    write_json(tmp_path / "run.json", {"inputs": [1]})
    assert changed_rows(tmp_path, dev) == []
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json is not valid JSON"):
        changed_rows(tmp_path, dev)
