"""Two CPU processes against one that does the work of both."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ofa_bert import runtime
from ofa_bert.data.batches import evaluation_batches
from ofa_bert.distributed import (
    ALONE,
    Ranks,
    gather_rows,
    largest,
    launch,
    launched_device,
    launched_ranks,
    sum_terms,
    wait_for_all,
)
from ofa_bert.errors import InputError, LostPeerError
from ofa_bert.evaluate import predict_logits
from ofa_bert.importance import score_importance
from ofa_bert.stopping import Stopped
from ofa_bert.training_state import model_arrays
from tests.distributed_worker import CONFIG, STEPS, importance_rows, student_model, work
from tests.tiny import tiny_dataset, tiny_model

import paddle  # isort: skip
from paddle.distributed.launch.context import args_envs  # isort: skip
from paddle.distributed.launch.context.device import Device  # isort: skip

ROOT = Path(__file__).parent.parent
RESULTS = ("logits", "best", "processes_here")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Where one process, and where two, noted what they did."""
    if paddle.is_compiled_with_cuda():
        pytest.skip("this build of paddle joins processes by their GPUs")
    alone, both = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("both")
    work(alone, ALONE)
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
    command += ["--log_dir", str(both / "log"), str(ROOT / "tests" / "distributed_worker.py")]
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PADDLE_")}
    environment |= {"PYTHONPATH": str(ROOT), "MKL_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, str(both)],
        capture_output=True,
        text=True,
        cwd=both,
        env=environment,
        timeout=500,
    )
    logs = "".join(path.read_text() for path in (both / "log").glob("workerlog.*"))
    assert result.returncode == 0, f"{result.stderr[-2000:]}\n{logs[-4000:]}"
    return alone, both


def noted(folder, rank=0):
    with np.load(folder / f"process_{rank}.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_take_the_steps_of_one_with_twice_the_batch(folders, rank):
    alone, both = noted(folders[0]), noted(folders[1], rank)
    before = model_arrays(student_model())
    for name in before:
        # Five steps in float32, with sums in another order.
        np.testing.assert_allclose(both[name], alone[name], rtol=1e-5, atol=1e-5, err_msg=name)
        if "k_proj.bias" not in name:
            assert np.abs(alone[name] - before[name]).max() > 1e-3, name


def test_the_main_process_scores_importance_for_all(folders):
    """On rows of its own: those of the other process are others, and would give other scores."""
    found = [np.load(folders[1] / f"heads_{rank}.npz") for rank in (0, 1)]
    scores = [
        score_importance(tiny_model(CONFIG), evaluation_batches(importance_rows(rank), 4)).heads
        for rank in (0, 1)
    ]
    for layer, (ours, others) in enumerate(zip(*scores, strict=True)):
        np.testing.assert_array_equal(found[0][f"arr_{layer}"], found[1][f"arr_{layer}"])
        # Scored with another number of threads.
        np.testing.assert_allclose(found[1][f"arr_{layer}"], ours, rtol=1e-4)
        assert np.abs(others / ours - 1).max() > 0.1


def test_what_has_no_gradient_in_any_process_is_not_decayed(folders):
    before = model_arrays(student_model())
    unused = [name for name in before if "pooler" in name or "classifier" in name]
    assert len(unused) == 4
    for folder, rank in [(folders[0], 0), (folders[1], 0), (folders[1], 1)]:
        with np.load(folder / f"without_logits_{rank}.npz") as after:
            for name in unused:
                np.testing.assert_array_equal(after[name], before[name], err_msg=name)
            # 8 rows, 8, and 1 that only the first process had: what one has all take part in.
            weight = "bert.encoder.layers.0.linear1.weight"
            assert np.abs(after[weight] - before[weight]).max() > 1e-2


def test_losses_are_those_of_the_whole_step(folders):
    alone, both = (
        [json.loads(line) for line in (f / "run" / "metrics.jsonl").read_text().splitlines()]
        for f in folders
    )
    assert [line["step"] for line in both] == list(range(1, STEPS + 1))
    for ours, theirs in zip(both, alone, strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-4, abs=1e-6)
        assert ours["epoch"] == theirs["epoch"]


def test_rows_computed_apart_come_back_in_order_in_every_process(folders):
    first, second = noted(folders[1]), noted(folders[1], 1)
    np.testing.assert_array_equal(first["logits"], second["logits"])
    model = student_model()
    model.set_state_dict({n: v for n, v in first.items() if n not in RESULTS})
    expected = predict_logits(model, tiny_dataset(9, seed=2))
    assert expected.shape == (9, 3)
    np.testing.assert_allclose(first["logits"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(first["best"], noted(folders[0])["best"])


def test_one_process_writes(folders):
    _, both = folders
    assert [path.name for path in both.glob("saved_by_*")] == ["saved_by_0"]
    kept = sorted(path.name for path in (both / "run" / "checkpoints").iterdir())
    assert kept == ["importance", "step_5"]
    assert sorted(p.name for p in (both / "run").iterdir()) == [
        "checkpoints",
        "metrics.jsonl",
        "run.json",
        "train_config.yaml",
    ]


def test_rows_of_one_process_are_put_in_order():
    values, places = np.array([[3.0], [1.0], [2.0]]), np.array([2, 0, 1])
    found = gather_rows(values, places, ALONE)
    np.testing.assert_array_equal(found, [[1.0], [2.0], [3.0]])


def test_terms_of_two_processes_add_up(monkeypatch):
    parts = [
        {"width_1.0": {"rep": 0.25, "logit": 1.0}},
        {},  # had no rows
        {"width_1.0": {"rep": 0.5, "logit": 2.0}},
    ]
    monkeypatch.setattr(
        "paddle.distributed.all_gather_object", lambda found, _: found.extend(parts)
    )
    expected = {"width_1.0": {"rep": 0.75, "logit": 3.0}}
    assert sum_terms(parts[0], Ranks(0, 3)) == expected
    assert sum_terms(parts[0], ALONE) == parts[0]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # What gloo says, word for word, when the other end was killed.
        ("[gloo/transport/tcp/pair.cc:576] Read error: Connection reset by peer", LostPeerError),
        ("(InvalidArgument) shapes differ", RuntimeError),
    ],
)
def test_a_process_that_is_gone_is_no_fault_of_this_one(monkeypatch, said, expected):
    def refuse(*args, **kwargs):
        raise RuntimeError(said)

    monkeypatch.setattr(paddle.distributed, "all_reduce", refuse)
    monkeypatch.setattr(paddle.distributed, "barrier", refuse)
    for meet in (lambda: largest(1, Ranks(0, 2)), lambda: wait_for_all(Ranks(0, 2))):
        with pytest.raises(RuntimeError, match=re.escape(said)) as raised:
            meet()
        assert type(raised.value) is expected


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


def test_the_launcher_says_how_many_processes_are_on_this_machine(folders):
    assert [noted(folders[1], rank)["processes_here"] for rank in (0, 1)] == [2, 2]


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


def test_the_largest_of_one_is_itself():
    assert largest(3, ALONE) == 3


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
