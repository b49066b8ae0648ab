"""Two CPU processes against one that does the work of both."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ofa_bert.data.batches import evaluation_batches
from ofa_bert.distributed import (
    ALONE,
    Ranks,
    gather_rows,
    largest,
    sum_terms,
    wait_for_all,
)
from ofa_bert.errors import LostPeerError
from ofa_bert.evaluate import predict_logits
from ofa_bert.importance import score_importance
from ofa_bert.training_state import model_arrays
from tests.distributed_worker import CONFIG, STEPS, importance_rows, student_model, work
from tests.tiny import tiny_dataset, tiny_model

import paddle  # isort: skip

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
    unused = {name for name in before if "pooler" in name or "classifier" in name}
    assert len(unused) == 4
    with np.load(folders[0] / "without_logits_0.npz") as arrays:
        alone = dict(arrays)
    for folder, rank in [(folders[0], 0), (folders[1], 0), (folders[1], 1)]:
        with np.load(folder / f"without_logits_{rank}.npz") as after:
            for name in before:
                if name in unused:
                    np.testing.assert_array_equal(after[name], before[name], err_msg=name)
                    continue
                # What one process has a gradient of, all take part in, also those without rows.
                np.testing.assert_allclose(after[name], alone[name], rtol=1e-5, atol=1e-5)
                if "k_proj.bias" not in name:
                    assert np.abs(after[name] - before[name]).max() > 1e-3, name


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


def test_the_launcher_says_how_many_processes_are_on_this_machine(folders):
    assert [noted(folders[1], rank)["processes_here"] for rank in (0, 1)] == [2, 2]


def test_the_largest_of_one_is_itself():
    assert largest(3, ALONE) == 3
