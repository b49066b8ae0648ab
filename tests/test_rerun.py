"""A run made again: by hand twice, and from its results.json; the same bits."""

from __future__ import annotations

import hashlib
import json

import pytest

import run_glue_ofa
from ofa_bert import cli, runtime
from ofa_bert.arguments import parse_args, resolved, to_argv
from ofa_bert.commands import rerun
from ofa_bert.durable import sha256
from ofa_bert.errors import CheckError, InputError
from ofa_bert.provenance import differences, input_hashes
from tests.runs import comparable, contents, finetune_argv, ofa_argv, run


@pytest.fixture(scope="module")
def teacher(base):
    result = run(cli.main, finetune_argv(base, base / "teacher"))
    assert result.code == 0, result.err
    return base / "teacher"


@pytest.fixture(scope="module")
def supernet(base, teacher):
    result = run(run_glue_ofa.main, ofa_argv(base, base / "supernet"))
    assert result.code == 0, result.err
    return base / "supernet"


def test_another_seed_gives_other_bits(base, teacher, tmp_path):
    result = run(cli.main, finetune_argv(base, tmp_path / "other", seed=43))
    assert result.code == 0, result.err
    assert sha256(tmp_path / "other" / "model.safetensors") != sha256(teacher / "model.safetensors")


@pytest.mark.parametrize("name", ["teacher", "supernet"])
def test_a_run_made_again_gives_the_same_bits(base, supernet, tmp_path, name, monkeypatch):
    before = contents(base / name)
    monkeypatch.chdir(tmp_path)  # its relative paths are those of where it was started
    result = run(cli.main, ["rerun", str(base / name / "results.json"), "--output_dir", "new"])
    assert result.code == 0, result.err
    assert "bit for bit" in result.out
    assert "not as it was" not in result.err
    assert contents(base / name) == before
    assert comparable(tmp_path / "new") == comparable(base / name)


def test_rerun_goes_beside_the_first_run_and_over_nothing(base, teacher, tmp_path):
    first = tmp_path / "first"
    first.mkdir()
    (first / "results.json").write_bytes((teacher / "results.json").read_bytes())
    result = run(cli.main, ["rerun", str(first / "results.json")])
    assert result.code == 0, result.err
    assert (tmp_path / "first_rerun" / "results.json").exists()
    again = run(cli.main, ["rerun", str(first / "results.json")])
    assert again.code == 2
    assert "first_rerun holds a finished run" in again.err
    result = run(cli.main, ["rerun", str(first / "results.json"), "--output_dir", str(first)])
    assert (result.code, contents(first).keys()) == (2, {"results.json"})
    assert "output_dir must not be the directory of the first run" in result.err


def changed(teacher, folder, **changes):
    """Write the results of a run with changes."""
    results = json.loads((teacher / "results.json").read_text())
    folder.mkdir()
    for name, value in changes.items():
        results[name] = {**results[name], **value} if isinstance(value, dict) else value
    (folder / "results.json").write_text(json.dumps(results))
    return folder / "results.json"


def test_what_is_not_as_it_was_is_told(teacher, tmp_path):
    path = changed(
        teacher, tmp_path / "a", environment={"paddle": "3.0.0", "runtime": "threads 96"}
    )
    result = run(cli.main, ["rerun", str(path)])
    assert result.code == 0, result.err
    assert "may give other bits: paddle: was 3.0.0, is " in result.err
    assert "may give other bits: runtime: was threads 96, is threads" in result.err
    path = changed(teacher, tmp_path / "c", environment={"processes": "2"}, weights_sha256="0")
    result = run(cli.main, ["rerun", str(path)])
    assert result.code == 0, result.err
    assert "the weights differ from those of the first run; so do: processes: was 2, is 1" in (
        result.out
    )
    path = changed(teacher, tmp_path / "b", inputs={str(teacher.parent / "train.tsv"): "0" * 64})
    result = run(cli.main, ["rerun", str(path)])
    assert f"other bits: file train.tsv: was {'0' * 64}, is " in result.err


def test_the_device_and_processes_are_those_the_run_will_have(teacher, tmp_path, monkeypatch):
    path = changed(teacher, tmp_path / "a", environment={"device": "gpu", "processes": "2"})
    run_before = rerun.read_run(path)
    assert rerun._changes(run_before) == ["device: was gpu, is cpu", "processes: was 2, is 1"]
    monkeypatch.setattr(runtime, "choose_device", lambda device, n_gpu: ("gpu", 2))
    assert rerun._changes(run_before) == []


def test_relative_paths_are_those_of_where_the_run_was_started(teacher, tmp_path, monkeypatch):
    (tmp_path / "dev.tsv").write_text("another")
    monkeypatch.chdir(tmp_path)
    started_in = str(teacher.parent)
    path = changed(teacher, tmp_path / "a", settings={"dev_file": "dev.tsv"}, started_in=started_in)
    settings = resolved(rerun.read_run(path).configs)
    assert settings["dev_file"] == f"{started_in}/dev.tsv"


def test_other_weights_from_the_same_run_are_a_failed_check(teacher, tmp_path):
    path = changed(teacher, tmp_path / "a", weights_sha256="0" * 64)
    with pytest.raises(CheckError, match="differ from those of the first run, though versions"):
        rerun.main([str(path), "--log_level", "warning"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": "rm"}, "unknown command 'rm'"),
        ({"environment": 3}, "are not as a run writes them"),
        ({"inputs": {"a": 3}}, "are not as a run writes them"),
        ({"settings": {"batch_size": "many"}}, "batch_size must be one int; got 'many'"),
        ({"settings": {"batchsize": 3}}, "unknown key 'batchsize'; did you mean 'batch_size'"),
        ({"settings": {"train_file": "a\x00b"}}, "train_file must be one str"),
    ],
)
def test_results_that_are_no_run_are_refused(teacher, tmp_path, changes, message):
    path = changed(teacher, tmp_path / "a", **changes)
    with pytest.raises(InputError, match=message):
        rerun.main([str(path)])


def test_settings_that_lack_a_required_one_are_refused(teacher, tmp_path):
    path = changed(teacher, tmp_path / "a")
    results = json.loads(path.read_text())
    del results["settings"]["model_name_or_path"]
    path.write_text(json.dumps(results))
    with pytest.raises(InputError, match="settings must say model_name_or_path; they do not"):
        rerun.main([str(path)])


def test_results_of_an_older_version_say_what_they_lack(tmp_path):
    (tmp_path / "results.json").write_text('{"settings": {}}')
    with pytest.raises(InputError, match="must say command, started_in, environment, inputs"):
        rerun.main([str(tmp_path / "results.json")])
    with pytest.raises(InputError, match="first; type python -m ofa_bert rerun RESULTS_JSON"):
        rerun.main(["--log_level", "info"])


def test_a_command_line_comes_back_from_its_configs(tmp_path):
    argv = ofa_argv(tmp_path, "out", text_columns=("a b", "c"), overwrite_output_dir=True)
    configs = parse_args("x", "", run_glue_ofa.GROUPS, argv)
    again = parse_args("x", "", run_glue_ofa.GROUPS, to_argv(configs))
    assert again == configs
    assert resolved(again)["learning_rate"] == 1e-3


def test_every_file_of_a_model_that_is_read_is_hashed(tmp_path):
    names = "config.json model.safetensors vocab.txt tokenizer.json tokenizer_config.json".split()
    for name in names:
        (tmp_path / name).write_text(name)
    settings = {"task_name": "own", "data_dir": None, "train_file": None, "dev_file": None}
    assert input_hashes({**settings, "model_name_or_path": str(tmp_path)}) == {
        str(tmp_path / name): hashlib.sha256(name.encode()).hexdigest() for name in names
    }


def test_files_of_one_name_are_told_apart():
    before = {"train/rows.tsv": "1", "dev/rows.tsv": "2", "vocab.txt": "3"}
    assert rerun.by_name(before) == {"rows.tsv": "1 2", "vocab.txt": "3"}
    assert rerun.by_name({**before, "train/rows.tsv": "4"})["rows.tsv"] == "4 2"


def test_differences_by_hand():
    assert differences({"a": "1", "b": "2"}, {"b": "3", "c": "4"}) == [
        "a: was 1, is nothing",
        "b: was 2, is 3",
        "c: was nothing, is 4",
    ]
