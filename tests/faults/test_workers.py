"""Two data-parallel processes: one killed, and both stopped. Each test starts several of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.scene import ROOT

pytestmark = pytest.mark.faults

PATIENCE = 300
"""Seconds after which a run counts as hanging."""


class Workers:
    """A run of two processes under paddle's launcher."""

    def __init__(self, scene, output, logs, **changes):
        self.logs, self.output = logs, output
        environment = {n: v for n, v in os.environ.items() if not n.startswith("PADDLE_")}
        environment |= {"PYTHONPATH": str(ROOT), "OFA_BERT_CACHE": str(scene.server.cache)}
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"),
                *("--log_dir", str(logs), str(ROOT / "ofa_bert" / "__main__.py")),
                *scene.argv("finetune", output, batch_size=3, **changes),
            ],
            cwd=logs.parent,
            env={**environment, "MKL_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_until(self, there):
        while not there.exists():
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def pids(self):
        """Give the workers' process numbers, by rank."""
        found = {}
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                parent = status.read_text().partition("PPid:")[2].split()[0]
                environment = (status.parent / "environ").read_bytes().split(b"\0")
            except (OSError, IndexError):
                continue
            if parent == str(self.process.pid):
                rank = next((e for e in environment if e.startswith(b"PADDLE_TRAINER_ID=")), None)
                if rank is not None:
                    found[int(rank.partition(b"=")[2])] = int(status.parent.name)
        return found

    def wait(self):
        said, _ = self.process.communicate(timeout=PATIENCE)
        logs = [path.read_text() for path in sorted(self.logs.glob("workerlog.*"))]
        return self.process.returncode, said, logs


def final(output):
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    losses = [(line["step"], line["losses"]) for line in lines]
    return losses, (output / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    code, said, logs = Workers(scene, folder / "run", folder / "logs").wait()
    assert code == 0, (said, logs)
    return final(folder / "run")


def check_resumed(scene, tmp_path, whole, count, fault):
    code, said, logs = Workers(scene, tmp_path / "run", tmp_path / "again", resume=True).wait()
    wrong = code == 0 and final(tmp_path / "run") != whole
    count(f"{fault}, finetune with two processes", lost=code != 0, wrong=wrong)
    assert code == 0, (said, logs)
    assert not wrong


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_worker_ends_the_run_with_its_reason(scene, whole, count, tmp_path, rank):
    output = tmp_path / "run"
    workers = Workers(scene, output, tmp_path / "logs")
    workers.wait_until(output / "checkpoints" / "step_3")
    os.kill(workers.pids()[rank], signal.SIGKILL)
    code, said, logs = workers.wait()
    assert code != 0
    # The launcher tells of the one it sees first: that one, or the other, which misses it.
    if f"Container rank {rank} status failed" in said:
        assert "code -9" in said
    else:
        assert "error: another process of this run has ended" in logs[1 - rank], (said, logs)
    assert not any("a fault of ofa_bert" in log for log in logs)
    check_resumed(scene, tmp_path, whole, count, "a worker killed")


def test_workers_that_are_stopped_save_the_same_step(scene, whole, count, tmp_path):
    output = tmp_path / "run"
    workers = Workers(scene, output, tmp_path / "logs")
    workers.wait_until(output / "checkpoints" / "step_3")
    workers.process.terminate()
    code, said, logs = workers.wait()
    assert code != 0
    told = [line for log in logs for line in log.splitlines() if line.startswith("stopped by")]
    assert len(told) == 2, (said, logs)
    assert len(set(told)) == 1
    assert told[0].startswith("stopped by SIGTERM: step ")
    check_resumed(scene, tmp_path, whole, count, "SIGTERM")


def test_another_number_of_processes_is_refused(scene, tmp_path):
    output = tmp_path / "run"
    workers = Workers(scene, output, tmp_path / "logs")
    workers.wait_until(output / "checkpoints" / "step_3")
    workers.process.terminate()
    workers.wait()
    ended = scene.run("finetune", output, resume=True, batch_size=3)
    ended.check_one_line()
    assert "processes were 2, are 1; set them back" in ended.error
