"""Importance is scored once for a run: what its weights are sorted by is what it goes on with."""

import os
import signal

import numpy as np
import pytest

import run_glue_ofa
from ofa_bert import cli, run_importance
from ofa_bert.checkpointing import Checkpoints
from ofa_bert.data.batches import evaluation_batches
from ofa_bert.errors import InputError
from ofa_bert.importance import Importance
from ofa_bert.run_importance import score_importance_once
from tests.runs import comparable, finetune_argv, ofa_argv, run
from tests.tiny import tiny_dataset, tiny_model

score_importance = run_importance.score_importance


def scored(checkpoints):
    return score_importance_once(tiny_model(), evaluation_batches(tiny_dataset(9), 4), checkpoints)


def reversed_scores(model, batches):
    """What another machine might score, to the extreme: other heads and neurons come first."""
    scores = score_importance(model, batches)
    return Importance(
        tuple(values[::-1].copy() for values in scores.heads),
        tuple(values[::-1].copy() for values in scores.neurons),
    )


@pytest.fixture
def elsewhere(monkeypatch):
    def go():
        monkeypatch.setattr(run_importance, "score_importance", reversed_scores)

    return go


def check_equal(found, expected):
    for name in ("heads", "neurons"):
        pairs = list(zip(getattr(found, name), getattr(expected, name), strict=True))
        assert len(pairs) == 2
        for ours, theirs in pairs:
            assert ours.dtype == np.float64
            np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def expected():
    return score_importance(tiny_model(), evaluation_batches(tiny_dataset(9), 4))


@pytest.fixture
def kept(tmp_path):
    """The checkpoints of a run that has scored and trained nothing yet."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    scored(checkpoints)
    return checkpoints


@pytest.fixture
def file(kept):
    return kept.directory / "importance" / "importance.safetensors"


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def remove_all(path):
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()


def test_the_scores_are_read_back_to_the_bit(kept, expected, elsewhere):
    elsewhere()
    check_equal(scored(kept), expected)


def test_a_run_without_a_folder_scores_each_time(expected):
    for _ in range(2):
        check_equal(scored(Checkpoints(None)), expected)


DAMAGES = [
    (flip_a_bit, r"the content of importance\.safetensors has changed"),
    (os.unlink, r"importance\.safetensors is missing"),
    (remove_all, r"manifest\.json is missing"),
]


@pytest.mark.parametrize(("damage", "what"), DAMAGES)
def test_weights_that_are_sorted_by_lost_scores_are_refused(kept, file, damage, what):
    (kept.directory / "step_3").mkdir()
    damage(file)
    message = rf"importance that the checkpoints .* cannot be read: {what}; begin anew with --over"
    with pytest.raises(InputError, match=message):
        scored(kept)


@pytest.mark.parametrize("damage", [damage for damage, _ in DAMAGES])
def test_before_the_first_checkpoint_lost_scores_are_scored_anew(
    kept, file, expected, damage, elsewhere
):
    damage(file)
    check_equal(scored(kept), expected)
    elsewhere()
    check_equal(scored(kept), expected)  # and kept again


def test_a_disk_that_refuses_is_named(tmp_path):
    message = r"importance cannot be written to .*gone.checkpoints: No such file .* --resume"
    with pytest.raises(InputError, match=message):
        scored(Checkpoints(tmp_path / "gone" / "checkpoints"))


def test_the_scores_go_with_the_checkpoints(kept):
    kept.clear()
    assert not kept.directory.exists()


def test_a_resumed_run_ends_as_if_it_had_scored_nothing_anew(
    base, tmp_path, monkeypatch, elsewhere
):
    """Also in what supernet.json says its weights are sorted by."""
    result = run(cli.main, finetune_argv(base, base / "teacher"))
    assert result.code == 0, result.err
    assert run(run_glue_ofa.main, ofa_argv(base, tmp_path / "whole")).code == 0

    save = Checkpoints.save

    def save_and_stop(self, step, *args):
        save(self, step, *args)
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    argv = ofa_argv(base, tmp_path / "resumed")
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_stop)
        assert run(run_glue_ofa.main, argv).code == 143
    elsewhere()
    result = run(run_glue_ofa.main, [*argv, "--resume"])
    assert result.code == 0, result.err
    assert comparable(tmp_path / "resumed") == comparable(tmp_path / "whole")
