"""The output directory removed, and used twice at once; and what a run writes elsewhere."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal

import pytest

FIRST = {"finetune": "checkpoints/step_3", "run_glue_ofa": "checkpoints/step_3"}


@pytest.mark.parametrize(
    "command", ["finetune", pytest.param("run_glue_ofa", marks=pytest.mark.faults)]
)
def test_removed_while_the_run_works(scene, count, tmp_path, command):
    output = tmp_path / "run"
    run = scene.server.start(command, scene.argv(command, output))
    run.wait_until(output / FIRST[command])
    run.signal(signal.SIGSTOP)
    shutil.rmtree(output)
    run.signal(signal.SIGCONT)
    ended = run.wait()
    ended.check_one_line()
    assert "No such file or directory" in ended.error
    count(f"output directory removed, {command}", wrong=output.exists())
    assert not output.exists()


def wait_until_held(run, lock):
    """Wait until a run has the lock file, and has let go of the directory it made it in."""
    run.wait_until(lock)
    descriptor = os.open(lock.parent, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("command", "held"),
    [
        ("finetune", "run.lock"),
        ("export", "dynamic/run.lock"),
        pytest.param("run_glue_ofa", "run.lock", marks=pytest.mark.faults),
    ],
)
def test_two_runs_at_once(scene, count, tmp_path, command, held):
    output = tmp_path / "run"
    first = scene.server.start(command, scene.argv(command, output))
    wait_until_held(first, output / held)
    first.signal(signal.SIGSTOP)
    second = scene.run(command, output)
    first.signal(signal.SIGCONT)
    ended = first.wait()
    second.check_one_line()
    assert f"is in use by process {first.pid} on " in second.error
    different = scene.differences(command, output)
    count(f"two runs at once, {command}", lost=ended.code != 0, wrong=bool(different))
    assert ended.code == 0, ended.err
    assert not different


@pytest.mark.parametrize("command", ["finetune", "run_glue_ofa", "export"])
def test_nothing_is_written_but_to_the_output_and_the_cache(scene, count, command):
    """What Python opens for writing, makes, renames or removes; and what libraries write."""
    allowed = (scene.folder / command, scene.server.cache)
    elsewhere = [
        str(path)
        for path in scene.undisturbed[command].paths
        if not any(path.is_relative_to(place) for place in allowed) and str(path) != "/dev/null"
    ]
    count(f"writes elsewhere, {command}", wrong=bool(elsewhere))
    assert not elsewhere
    # The working directory, the home and the directory for temporary files were all this one. An
    # empty directory is what importing paddle makes in every home.
    left = [path for path in scene.server.elsewhere.rglob("*") if not path.is_dir()]
    assert left == []
    assert (scene.server.elsewhere / ".cache" / "paddle" / "dataset").is_dir()
    assert sorted(path.name for path in (scene.folder / "base").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]
