from __future__ import annotations

import json
import os
import re

import pytest
import yaml

from ofa_bert.config import (
    DataConfig,
    DeviceConfig,
    OutputConfig,
    SourceConfig,
    SupernetConfig,
    TrainConfig,
)
from ofa_bert.distributed import Ranks
from ofa_bert.errors import InputError
from ofa_bert.run_folder import (
    MADE_BY_A_RUN,
    open_run_folder,
    read_settings,
)
from tests.runs import contents

MAIN = Ranks()


def start(folder, ranks=MAIN, *, output=None, device=None, model="model", inputs=None, **training):
    """Open a run folder as a command does, and leave it."""
    output_config = OutputConfig(str(folder), **(output or {}))
    data = DataConfig(task_name="own", train_file="t.tsv", text_columns=("a", "b"))
    configs = (
        SourceConfig(str(model)),
        data,
        output_config,
        SupernetConfig(),
        TrainConfig(**training),
        DeviceConfig(**(device or {})),
    )
    with open_run_folder(output_config, configs, ranks, inputs) as run:
        return run


@pytest.fixture
def unfinished(tmp_path):
    """A run that was stopped after its first checkpoint."""
    folder = start(tmp_path / "run", batch_size=4).path
    (folder / "checkpoints" / "step_5").mkdir(parents=True)
    (folder / "checkpoints" / "step_5" / "state.json").write_text("{}")
    (folder / "checkpoints" / "step_5" / "manifest.json").write_text("{}")
    return folder


@pytest.fixture
def finished(unfinished):
    start(unfinished, output={"resume": "auto"}, batch_size=4).finish({"mean_score": 0.5})
    return unfinished


def test_a_new_run_notes_its_settings(tmp_path):
    folder = start(tmp_path / "a" / "b", batch_size=4, learning_rate=1e-3)
    settings = yaml.safe_load((folder.path / "train_config.yaml").read_text())
    assert settings["batch_size"] == 4
    assert settings["learning_rate"] == 1e-3
    assert settings["width_mult_list"] == [1.0, 5 / 6, 2 / 3, 0.5]
    assert read_settings(folder.path) == settings
    assert read_settings(tmp_path) == {}


def test_what_to_do_with_what_stood_there_is_noted_of_no_run(finished):
    """Else ``--config`` of a run's own settings could not continue it."""
    folder = start(finished, output={"overwrite_output_dir": True}).path
    start(folder, output={"resume": "auto"})
    began_with = json.loads((folder / "run.json").read_text())["settings"]
    for settings in (began_with, read_settings(folder)):
        assert (settings["overwrite_output_dir"], settings["resume"]) == (False, None)


def test_settings_that_are_no_yaml_are_named(tmp_path):
    (tmp_path / "train_config.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"train_config\.yaml cannot be read"):
        read_settings(tmp_path)


def test_finishing_marks_the_run_and_drops_its_checkpoints(finished):
    assert contents(finished).keys() == {"results.json", "train_config.yaml", "run.json"}


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("finished", r"holds a finished run; pass --overwrite_output_dir to replace it"),
        ("unfinished", r"holds an unfinished run; pass --resume to continue it or --overwrite"),
    ],
)
def test_a_run_that_stands_there_is_not_touched(folder, message, request):
    folder = request.getfixturevalue(folder)
    before = contents(folder)
    with pytest.raises(InputError, match=message):
        start(folder)
    assert contents(folder) == before


def test_overwriting_removes_a_runs_files_and_leaves_the_users(finished):
    (finished / "notes.txt").write_text("mine")
    (finished / "data").mkdir()
    (finished / "data" / "vocab.txt").write_text("mine too")
    for name in set(MADE_BY_A_RUN) - {"checkpoints"}:
        (finished / name).write_text("old")
    for folder in ("step_4", "partial_step_8", "damaged_step_6", "mine"):
        (finished / "checkpoints" / folder).mkdir(parents=True)
        (finished / "checkpoints" / folder / "model.safetensors").write_text("old")
    start(finished, output={"overwrite_output_dir": True})
    found = contents(finished)
    kept = {"notes.txt", "data/vocab.txt", "checkpoints/mine/model.safetensors"}
    assert found.keys() == kept | {"train_config.yaml", "run.json"}
    assert found["train_config.yaml"] != b"old"


def test_overwriting_nothing_is_a_new_run(tmp_path):
    start(tmp_path / "new", output={"overwrite_output_dir": True})
    assert contents(tmp_path / "new").keys() == {"train_config.yaml", "run.json"}


def test_resuming_takes_the_same_settings(unfinished):
    before, settings = contents(unfinished), read_settings(unfinished)
    harmless = {"log_level": "warning", "n_gpu": 0}
    start(unfinished, output={"resume": "auto"}, device=harmless, batch_size=4, logging_steps=7)
    # Those that may change are noted as they are now; what the run began with stays.
    assert read_settings(unfinished) == {**settings, **harmless, "logging_steps": 7}
    after = contents(unfinished)
    assert before.pop("train_config.yaml") != after.pop("train_config.yaml")
    assert after == before


def test_resuming_with_another_setting_names_it(unfinished):
    before = contents(unfinished)
    expected = r"batch_size was 4, is 8; learning_rate was 5e-05, is 0.1; set them back"
    with pytest.raises(InputError, match=expected):
        start(unfinished, output={"resume": "auto"}, batch_size=8, learning_rate=0.1)
    assert contents(unfinished) == before


def test_resuming_with_another_input_names_the_file(tmp_path):
    inputs = {"model": "1", "training rows": "2", "dev rows": "3"}
    start(tmp_path / "run", inputs=inputs)
    before = contents(tmp_path / "run")
    changed = {
        "model": r"model \(model\) changed since the start",
        "training rows": r"training rows \(t\.tsv\) changed since the start",
        "dev rows": r"dev rows \(own\) changed since the start",  # no file is named: the task is
    }
    for name, message in changed.items():
        with pytest.raises(InputError, match=f"resume needs .*: {message}; set them back"):
            start(tmp_path / "run", output={"resume": "auto"}, inputs={**inputs, name: "other"})
    start(tmp_path / "run", output={"resume": "auto"}, inputs=inputs)
    assert contents(tmp_path / "run") == before


def test_resuming_with_another_number_of_processes_is_refused(unfinished, monkeypatch):
    monkeypatch.setattr("ofa_bert.distributed.wait_for_all", lambda ranks: None)
    with pytest.raises(InputError, match="processes were 1, are 2; set them back"):
        start(unfinished, Ranks(0, 2), output={"resume": "auto"}, batch_size=4)


def test_resuming_elsewhere_is_a_warning(unfinished, monkeypatch, caplog):
    monkeypatch.setattr("ofa_bert.runtime.describe", lambda: "64 threads")
    monkeypatch.setattr("ofa_bert.runtime.processor_name", lambda: "another processor")
    start(unfinished, output={"resume": "auto"}, batch_size=4)
    expected = r"began with runtime .* and goes on with 64 threads: the result may differ in round"
    assert len(caplog.records) == 2
    assert re.search(expected, caplog.text)
    assert "and goes on with another processor: the result may differ" in caplog.text


def test_a_run_cut_off_in_its_first_moment_can_be_resumed(tmp_path):
    folder = start(tmp_path / "run", batch_size=4).path
    before = contents(folder)
    (folder / "run.json").unlink()
    (folder / ".run.json.123.tmp").write_text("{")
    start(folder, output={"resume": "auto"}, batch_size=4)
    found = contents(folder)
    assert found.keys() == before.keys()
    assert json.loads(found["run.json"])["id"] == json.loads(before["run.json"])["id"]


def test_one_run_at_a_time(tmp_path):
    output = OutputConfig(str(tmp_path / "run"))
    with open_run_folder(output, [output], MAIN) as run:
        assert (run.path / "run.lock").exists()
        again = OutputConfig(str(tmp_path / "run"), resume="auto")
        with pytest.raises(InputError, match="is in use by process"):
            start(tmp_path / "run")
        with pytest.raises(InputError, match="is in use by"), open_run_folder(again, [], MAIN):
            raise AssertionError("not reached")
    assert not (tmp_path / "run" / "run.lock").exists()


def test_checkpoints_that_outlived_a_finished_run_are_removed(finished):
    (finished / "checkpoints" / "step_9").mkdir(parents=True)
    with pytest.raises(InputError, match="there is nothing to resume"):
        start(finished, output={"resume": "auto"}, batch_size=4)
    assert not (finished / "checkpoints").exists()


def test_resuming_a_finished_run_or_none_says_so(finished, tmp_path):
    with pytest.raises(InputError, match="holds a finished run; there is nothing to resume"):
        start(finished, output={"resume": "auto"}, batch_size=4)
    with pytest.raises(InputError, match="new holds no run to resume; leave out --resume"):
        start(tmp_path / "new", output={"resume": "auto"})
    assert not (tmp_path / "new").exists()


def test_a_file_in_the_place_of_the_directory(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file is a file; name a directory"):
        start(tmp_path / "file")
    with pytest.raises(InputError, match=r"file/run cannot be written: Not a directory"):
        start(tmp_path / "file" / "run")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written: Permission denied"):
        start(tmp_path / "run")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_directory_of_the_model_that_is_read_is_never_written(tmp_path, overwrite):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    output = {"overwrite_output_dir": overwrite}
    with pytest.raises(InputError, match="output_dir must not be the directory of the model"):
        start(tmp_path / "model" / ".." / "model", output=output, model=model)
    assert contents(model).keys() == {"config.json"}


def test_only_the_main_process_looks_and_writes(finished, tmp_path, monkeypatch):
    other, waits = Ranks(rank=1, size=2), []
    monkeypatch.setattr("ofa_bert.distributed.wait_for_all", waits.append)
    before = contents(finished)
    assert start(finished, other).path == finished
    start(tmp_path / "new", other)
    assert waits == [other, other]
    assert contents(finished) == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_model_that_no_run_made_is_not_overwritten(tmp_path, overwrite):
    (tmp_path / "config.json").write_text("theirs")
    with pytest.raises(InputError, match=r"holds config\.json, which no run of ours made; name"):
        start(tmp_path, output={"overwrite_output_dir": overwrite})
    assert contents(tmp_path) == {"config.json": b"theirs"}
