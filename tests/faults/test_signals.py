"""SIGTERM and SIGINT: the step is finished and saved, and the run goes on to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.faults.scene import ROOT

HOW_TO_CONTINUE = (
    " is done, all is saved; type the same command with --resume (not --overwrite_output_dir) to "
    "continue"
)


def stop_and_resume(scene, check_after, command, output, signum):
    run = scene.server.start(command, scene.argv(command, output))
    run.wait_until(output / "checkpoints" / "step_3")
    run.signal(signal.SIGSTOP)  # so that it does not end before the signal comes
    run.signal(signum)
    run.signal(signal.SIGCONT)
    ended = run.wait()
    assert ended.code == {signal.SIGTERM: 143, signal.SIGINT: 130}[signum], ended.err
    assert "Traceback" not in ended.err
    said = f"stopped by {signum.name}: step "
    assert ended.error.startswith(said), ended.err
    assert ended.error.endswith(HOW_TO_CONTINUE)
    step = int(ended.error.removeprefix(said).split()[0])
    assert (output / "checkpoints" / f"step_{step}").exists()
    assert not (output / "run.lock").exists()
    check_after(f"{signum.name}", command, output)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_fine_tuning_that_is_stopped_goes_on(scene, check_after, tmp_path, signum):
    stop_and_resume(scene, check_after, "finetune", tmp_path / "run", signum)


@pytest.mark.faults
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_supernet_that_is_stopped_goes_on(scene, check_after, tmp_path, signum):
    stop_and_resume(scene, check_after, "run_glue_ofa", tmp_path / "run", signum)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_an_export_that_is_stopped_leaves_nothing(scene, check_after, tmp_path, signum):
    run = scene.server.start("export", scene.argv("export", tmp_path / "run"))
    run.wait_until(tmp_path / "run" / "dynamic" / ".filling")
    run.signal(signum)
    ended = run.wait()
    assert ended.code == 128 + signum, ended.err
    assert ended.error == f"stopped by {signum.name}"
    assert not (tmp_path / "run").exists()
    check_after(f"{signum.name}", "export", tmp_path / "run")


def test_a_signal_before_the_training_is_ours_too(scene, tmp_path):
    """In a process of its own: importing paddle there puts its handler of SIGTERM over ours."""
    output = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "run_glue_ofa.py", *scene.argv("run_glue_ofa", output)],
        cwd=ROOT,
        env={**os.environ, "OFA_BERT_CACHE": str(scene.server.cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (output / "run.lock").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.terminate()
    _, said = process.communicate()
    assert process.returncode == 143
    assert said.splitlines()[-1].startswith("stopped by SIGTERM")
    assert "C++ Traceback" not in said
    assert not (output / "run.lock").exists()
