"""A stopped run with drawn widths and the teacher's answers on disk goes on to the same bits."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

import run_glue_ofa
from ofa_bert import cli
from ofa_bert.checkpointing import Checkpoints
from ofa_bert.distill import recorded
from tests.runs import comparable, finetune_argv, ofa_argv, run

SETTINGS = {
    "width_mult_list": ("1.0", "2/3", "1/3"),
    "schedule": "random-2",
    "teacher_cache": "disk",
    "lambda_label": 0.5,
    "logging_steps": 5,  # a line of steps before and after the stop
}


@pytest.fixture(scope="module")
def whole(base):
    result = run(cli.main, finetune_argv(base, base / "teacher"))
    assert result.code == 0, result.err
    result = run(run_glue_ofa.main, ofa_argv(base, base / "whole", **SETTINGS))
    assert result.code == 0, result.err
    return base / "whole"


@pytest.fixture
def stopped(base, tmp_path, monkeypatch):
    """A run that a signal stopped in the step after its first checkpoint, of step 4."""
    save, saved = Checkpoints.save, []

    def save_and_stop(self, step, *args):
        save(self, step, *args)
        saved.append(step)
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    def go_on(**changes):
        return run(run_glue_ofa.main, ofa_argv(base, tmp_path / "out", **{**SETTINGS, **changes}))

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_stop)
        assert (go_on().code, saved) == (143, [4, 5])
    return go_on


def flip_a_bit(cache):
    """Damage every file that may hold the teacher's answers."""
    for path in cache.glob("*.npz"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("cache", "changes"),
    [("whole", {}), ("damaged", {}), ("elsewhere", {"teacher_cache": "memory"})],
)
def test_a_stopped_run_goes_on_to_the_same_bits(
    whole, stopped, tmp_path, monkeypatch, cache, changes
):
    record, asked = recorded.record, []
    monkeypatch.setattr(recorded, "record", lambda *a, **k: asked.append(1) or record(*a, **k))
    if cache == "damaged":
        flip_a_bit(Path(os.environ["OFA_BERT_CACHE"]))
    resumed = stopped(resume=True, log_level="info", **changes)
    assert resumed.code == 0, resumed.err
    assert len(asked) == (cache != "whole")
    # Two of three widths, and no teacher to ask.
    assert "schedule: random-2, 0.67 of the matrix products" in resumed.err
    expected = comparable(whole)
    expected["settings"] |= {"log_level": "info", **changes}  # as the run went on
    assert comparable(tmp_path / "out") == expected
    # The steps did draw different widths.
    assert len(expected["metrics"][0]["losses"]) > 2
    assert np.isfinite([line["loss"] for line in expected["metrics"]]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "sandwich"}, "schedule was random-2, is sandwich"),
        ({"lambda_label": 0.1}, "lambda_label was 0.5, is 0.1"),
        ({"teacher_cache": "none"}, "teacher_cache was disk, is none"),
    ],
)
def test_what_would_change_the_result_is_refused(whole, stopped, changes, message):
    refused = stopped(resume=True, **changes)
    assert refused.code == 2
    assert message in refused.err
