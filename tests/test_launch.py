"""The launcher: which process this is, on which device, and how all of them are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ofa_bert import runtime
from ofa_bert.distributed import ALONE, Ranks, launch, launched_device, launched_ranks
from ofa_bert.errors import InputError
from ofa_bert.stopping import Stopped

import paddle  # isort: skip
from paddle.distributed.launch.context import args_envs  # isort: skip
from paddle.distributed.launch.context.device import Device  # isort: skip

ROOT = Path(__file__).parent.parent


def test_the_launcher_says_which_process_this_is(monkeypatch):
    monkeypatch.delenv("PADDLE_TRAINER_ID", raising=False)
    monkeypatch.delenv("PADDLE_TRAINERS_NUM", raising=False)
    monkeypatch.delenv("PADDLE_LOCAL_SIZE", raising=False)
    assert launched_ranks() == ALONE
    assert runtime.processes_here() == 1
    monkeypatch.setenv("PADDLE_TRAINER_ID", "2")
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "3")
    assert launched_ranks() == Ranks(rank=2, size=3)
    assert not launched_ranks().is_main
    monkeypatch.setenv("PADDLE_LOCAL_SIZE", "2")  # the third is on another machine
    assert runtime.processes_here() == 2


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """Command lines that would be started; each ends with code 3."""
    started = []

    class Process:
        def __init__(self, command, env, start_new_session):
            assert env == runtime.user_environment()  # not what was set for this process
            started.append(command)

        def wait(self):
            return 3

    monkeypatch.setenv("OFA_BERT_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", Process)
    return started


def test_the_script_is_started_again_in_each_process(commands, tmp_path):
    assert launch("run.py", ["--n_gpu", "2"], 2) == 3
    (command,) = commands
    where = command.index("--log_dir")
    assert command[command.index("-m") + 1 : where] == (
        "paddle.distributed.launch --nproc_per_node 2".split()
    )
    assert command[where + 2 :] == "run.py --n_gpu 2".split()
    assert Path(command[where + 1]).parent == tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("visible", ["2,3", "7, 5,1", "GPU-8932f937,GPU-1a2b3c4d"])
def test_each_process_gets_one_of_the_visible_gpus(commands, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    launch("run.py", [], 2)
    monkeypatch.setattr(sys, "argv", commands[0][commands[0].index("-m") + 1 :])
    asked = args_envs.parse_args()[0]  # as the launcher reads its command line
    assert asked.training_script == "run.py"
    # Places among the visible ones, for one process after the other.
    assert Device.parse_device().get_selected_devices(asked.devices)[:2] == ["0", "1"]


def test_a_signal_is_handed_on_to_the_launcher_which_is_waited_for(monkeypatch, tmp_path):
    calls = []

    class Process:
        def __init__(self, command, env, start_new_session):
            assert start_new_session  # else Ctrl-C would reach the workers twice

        def wait(self):
            calls.append("wait")
            if len(calls) == 1:
                raise Stopped(signal.SIGTERM)

        def terminate(self):
            calls.append("terminate")

    monkeypatch.setenv("OFA_BERT_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", Process)
    with pytest.raises(Stopped):
        launch("run.py", [], 2)
    assert calls == ["wait", "terminate", "wait"]


def told(choose, *arguments):
    with pytest.raises(InputError) as caught:
        choose(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("asked", [("gpu:0", None), ("xpu", None), (None, 2), ("gpu", 0)])
def test_a_launched_process_does_not_fall_back_to_the_cpu(asked):
    if paddle.is_compiled_with_cuda() or paddle.is_compiled_with_xpu():
        pytest.skip("there may be such a device")
    message = told(launched_device, *asked)
    assert message == told(runtime.choose_device, *asked)
    assert "pass --" in message
    for wish in [("cpu", None), ("cpu", 2), (None, 0), (None, None)]:
        assert launched_device(*wish) == "cpu"


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ((None, None), "gpu:3"),
        ((None, 4), "gpu:3"),
        ((None, 0), "cpu"),
        (("gpu", None), "gpu:3"),
        (("gpu:0", 1), "gpu:3"),
        (("cpu", 4), "cpu"),
        (("xpu", None), "xpu:3"),
        (("xpu:0", None), "xpu:3"),
    ],
)
def test_a_launched_process_takes_the_device_its_launcher_meant(monkeypatch, asked, given):
    monkeypatch.setattr(runtime, "count_gpus", lambda: 1)  # the others' are hidden
    monkeypatch.setattr(paddle, "is_compiled_with_xpu", lambda: True)
    monkeypatch.setattr(paddle.distributed, "ParallelEnv", lambda: SimpleNamespace(device_id=3))
    assert launched_device(*asked) == given


STOPPED = """
import sys
from ofa_bert import command, runtime
from ofa_bert.config import DeviceConfig

runtime.choose_device = lambda device, n_gpu: ("cpu", 2)
command.run_script(
    lambda argv: command.run_on_devices(DeviceConfig(), argv[0], argv[1:], lambda ranks: None)
)
"""
SLEEPER = """
import os, sys, time
from pathlib import Path
Path(sys.argv[1], os.environ["PADDLE_TRAINER_ID"]).write_text(str(os.getpid()))
time.sleep(60)
"""


def test_a_command_that_is_stopped_leaves_no_process(tmp_path):
    """In a process of its own: importing paddle there puts its handler of SIGTERM over ours."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    (tmp_path / "pids").mkdir()
    said = tmp_path / "said.txt"  # no pipe: what is left running would keep it open
    with said.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", STOPPED, str(tmp_path / "sleeper.py"), str(tmp_path / "pids")],
            cwd=ROOT,
            env={**os.environ, "OFA_BERT_CACHE": str(tmp_path / "cache")},
            stdout=file,
            stderr=file,
        )
    while len(pids := [p.read_text() for p in (tmp_path / "pids").iterdir()]) < 2 or "" in pids:
        assert process.poll() is None, said.read_text()
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=100) == 143, said.read_text()
    assert not [pid for pid in pids if Path("/proc", pid).exists()], said.read_text()
