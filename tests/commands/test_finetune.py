"""python -m ofa_bert finetune: a teacher, once whole and once resumed."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest

from ofa_bert import cli
from ofa_bert.checkpoint.load import load_model
from ofa_bert.checkpointing import Checkpoints
from tests.commands.expected import dev_accuracy, read_results, tree
from tests.oracles import weights_of
from tests.runs import LABELS, MAX_SEQ_LENGTH, finetune_argv, run


def test_finetune_keeps_its_best_and_says_its_score(work, teacher):
    folder, result = teacher
    model = load_model(folder)
    accuracy = dev_accuracy(work, model)
    results = read_results(folder)
    assert results["scores"] == {"full": {"accuracy": accuracy, "score": accuracy}}
    assert f"own: accuracy {accuracy:.4f}, score {accuracy:.4f}" in result.out
    assert model.config.labels == LABELS
    assert (model.config.task_name, model.config.max_seq_length) == ("own", MAX_SEQ_LENGTH)
    # 26 rows by 5 are 6 steps an epoch, 2 epochs; saved and evaluated at 4, 8, 12.
    assert results["kept_step"] in (4, 8, 12)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4, 6, 8, 10, 12]
    assert not (folder / "checkpoints").exists()
    before = weights_of(load_model(work / "base"))
    assert any(not np.array_equal(w, before[n]) for n, w in weights_of(model).items())


def test_the_model_that_is_read_is_not_written(work, teacher, supernet):
    names = {"config.json", "model.safetensors", "vocab.txt"}
    assert tree(work / "base").keys() - names <= {"tokenizer.json", "tokenizer_config.json"}
    assert "supernet.json" not in tree(work / "teacher")


@pytest.mark.parametrize("stop_after", [4, 12])  # 12 is the last: only the results are missing
def test_a_stopped_run_resumes_to_the_same_bits(work, teacher, tmp_path, monkeypatch, stop_after):
    save = Checkpoints.save

    def save_and_stop(self, step, *args, **kwargs):
        save(self, step, *args, **kwargs)
        if step == stop_after:
            raise KeyboardInterrupt

    argv = finetune_argv(work, tmp_path / "run", num_train_epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            run(cli.main, argv)
    assert not (tmp_path / "run" / "results.json").exists()
    refused = run(cli.main, argv)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "holds an unfinished run; pass --resume" in refused.err
    resumed = run(cli.main, [*argv, "--resume"])
    assert resumed.code == 0, resumed.err
    for name, values in weights_of(load_model(teacher[0])).items():
        np.testing.assert_array_equal(weights_of(load_model(tmp_path / "run"))[name], values)
    assert read_results(tmp_path / "run")["own_best"] == read_results(teacher[0])["own_best"]


def test_logits_that_are_no_numbers_name_the_step_and_keep_the_checkpoint(work, tmp_path):
    # The first step of a warm-up moves nothing, the second every weight by 1e29 or so.
    broken = {"learning_rate": 1e30, "warmup_steps": 5, "save_steps": 1}
    argv = finetune_argv(work, tmp_path / "run", **broken)
    result = run(cli.main, argv)
    assert result.code == 2
    last = result.err.splitlines()[-1]
    expected = r"error: after step 2: logits must be finite numbers to be scored; got \[.*nan"
    assert re.match(expected, last), result.err
    assert last.endswith("; checkpoint step_1 is kept")
    assert result.err.count("error: ") == 1
    assert "Traceback" not in result.err
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step_1"]
    assert not (tmp_path / "run" / "results.json").exists()


def test_a_run_started_in_a_directory_that_is_no_utf_8_keeps_its_results(
    work, tmp_path, monkeypatch
):
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    monkeypatch.chdir(os.fsencode(tmp_path) + b"/caf\xe9")
    result = run(cli.main, finetune_argv(work, tmp_path / "out", max_steps=1))
    assert result.code == 0, result.err
    assert read_results(tmp_path / "out")["started_in"] == f"{tmp_path}/caf\\xe9"


def test_a_path_that_is_no_utf_8_is_refused_before_anything_is_written(work, tmp_path):
    out = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    for changes in ({"dev_file": f"{out}/dev.tsv"}, {"output_dir": out}):
        result = run(cli.main, finetune_argv(work, tmp_path / "o", **changes))
        assert result.code == 2
        assert "must be UTF-8, in which the settings are written; got '" in result.err
    assert not any(tmp_path.iterdir())
