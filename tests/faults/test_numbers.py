"""Losses that are no numbers, too little memory, and a clock that jumps."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
from safetensors.numpy import load_file, save_file

from tests.faults.scene import ROOT

LARGE = """
import sys
from pathlib import Path
from ofa_bert.checkpoint.save import save_model
from tests.tiny import tiny_config, tiny_model, tiny_tokenizer

folder = Path(sys.argv[1])
config = tiny_config(num_neurons=20_000, num_classes=2, max_position_embeddings=20)
save_model(tiny_model(config), folder, tiny_tokenizer(folder))
"""


@pytest.mark.parametrize(
    ("command", "loss"),
    [
        ("finetune", "label of full"),
        pytest.param("run_glue_ofa", r"\w+ of width_[\d.]+", marks=pytest.mark.faults),
    ],
)
def test_a_loss_that_is_no_number(scene, count, tmp_path, command, loss):
    output = tmp_path / "run"
    ended = scene.run(command, output, learning_rate=1e30, save_steps=9)
    ended.check_one_line()
    assert re.search(rf"loss {loss} is (nan|inf) at step 2 \(training rows \[", ended.error)
    assert not [*(output / "checkpoints").glob("step_*")]
    again = scene.run(command, output, learning_rate=1e30, save_steps=9, resume=True)
    count(f"NaN loss, {command}", wrong=again.error != ended.error)
    assert again.error == ended.error
    assert not [*(output / "checkpoints").glob("step_*")]


def test_a_supernet_that_holds_nan_is_not_exported(scene, count, tmp_path):
    shutil.copytree(scene.folder / "run_glue_ofa", tmp_path / "supernet")
    path = tmp_path / "supernet" / "model.safetensors"
    weights = load_file(path)
    weights["classifier.bias"][0] = float("nan")
    save_file(weights, path)
    ended = scene.run("export", tmp_path / "run", model_name_or_path=tmp_path / "supernet")
    ended.check_one_line()
    assert "must be finite numbers; got NaN or infinity in classifier.bias" in ended.error
    count("NaN weights, export", wrong=(tmp_path / "run").exists())
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A model whose batches need far more memory than its weights."""
    folder = tmp_path_factory.mktemp("large")
    subprocess.run([sys.executable, "-c", LARGE, str(folder)], cwd=ROOT, check=True)
    return folder


@pytest.mark.parametrize("command", ["finetune", "run_glue_ofa"])
def test_out_of_memory_in_a_batch(scene, count, large, tmp_path, command):
    output = tmp_path / "run"
    ended = scene.run(
        command, output, {"more_memory": 60 << 20}, model_name_or_path=large, batch_size=26
    )
    ended.check_one_line()
    doing = {"finetune": "taking step 1", "run_glue_ofa": "scoring importance"}[command]
    assert f"out of memory while {doing}: a batch of 26 rows of 12 tokens does not" in ended.error
    assert "lower --batch_size" in ended.error
    count(f"out of memory, {command}", wrong=(output / "results.json").exists())


@pytest.mark.parametrize(
    "command",
    ["finetune", "export", pytest.param("run_glue_ofa", marks=pytest.mark.faults)],
)
def test_a_clock_that_jumps(scene, count, tmp_path, command):
    output = tmp_path / "run"
    ended = scene.run(command, output, {"jumping_clock": 1e8})
    different = scene.differences(command, output)
    count(f"clock that jumps by 3 years, {command}", lost=ended.code != 0, wrong=bool(different))
    assert ended.code == 0, ended.err
    assert not different
    if command != "export":
        assert 0.0 < json.loads((output / "results.json").read_text())["wall_seconds"] < 1e4
