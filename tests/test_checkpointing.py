"""Which checkpoints are kept, and which one a run goes on from when some are damaged."""

import logging
import re
import shutil

import numpy as np
import pytest

from ofa_bert.checkpointing import Checkpoints
from ofa_bert.errors import InputError
from ofa_bert.scores import Best
from tests.oracles import weights_of
from tests.trained import trained_for

RUN = {"id": "this run"}


@pytest.fixture(scope="module")
def trained():
    return trained_for(1)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def saved(tmp_path, trained):
    """Checkpoints of steps 2, 4, 6 and 8, of which 4 was the best and 2 is gone."""
    checkpoints, best = Checkpoints(tmp_path / "c", run=RUN), Best()
    for step, score in [(2, 0.1), (4, 0.9), (6, 0.5), (8, 0.6)]:
        best = best.update(step, {"full": {"score": score}})
        checkpoints.save(step, best, trained)
    return checkpoints


def test_the_newest_two_and_the_best_are_kept(saved):
    assert names(saved.directory) == ["step_4", "step_6", "step_8"]
    assert saved.newest() == 8


@pytest.mark.parametrize("keep", [1, 3])
def test_as_many_as_asked_for_are_kept(tmp_path, trained, keep):
    checkpoints, best = Checkpoints(tmp_path / "c", keep), Best()
    for step in range(1, 6):
        best = best.update(step, {"full": {"score": -step}})
        checkpoints.save(step, best, trained)
    newest = [f"step_{step}" for step in range(6 - keep, 6)]
    assert names(tmp_path / "c") == ["step_1", *newest]


def test_a_new_best_does_not_take_away_what_the_one_before_needs(saved, trained):
    saved.save(10, Best().update(10, {"full": {"score": 1.0}}), trained)
    assert names(saved.directory) == ["step_10", "step_4", "step_8"]
    truncate(saved.directory / "step_10")
    assert saved.newest() == 8


def test_an_old_one_goes_only_when_the_new_one_stands(saved, trained, monkeypatch):
    seen = []

    def watch():
        seen.append(names(saved.directory))

    monkeypatch.setattr(saved, "_remove_old", watch)
    saved.save(10, Best().update(10, {"full": {"score": 1.0}}), trained)
    assert seen == [["step_10", "step_4", "step_6", "step_8"]]


def flip_a_bit(folder):
    path = folder / "optimizer.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def lose(folder):
    (folder / "state.json").unlink()


def add(folder):
    (folder / "notes.txt").write_text("mine")


def replace(folder):
    shutil.copy(folder.parent / "step_4" / "state.json", folder / "state.json")


DAMAGES = {
    "flipped bit": (flip_a_bit, r"the content of optimizer\.safetensors has changed"),
    "cut short": (truncate, r"model\.safetensors has \d+ bytes, not \d+"),
    "missing file": (lose, r"state\.json is missing"),
    "foreign file": (add, r"notes\.txt does not belong to it"),
    "file of another step": (
        replace,
        r"state\.json has \d+ bytes, not \d+|the content of state\.json has changed",
    ),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), r"manifest\.json is missing"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_one_is_named_and_the_one_before_is_used(saved, case, caplog):
    damage, message = DAMAGES[case]
    damage(saved.directory / "step_8")
    with caplog.at_level(logging.WARNING):
        assert saved.newest() == 6
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    expected = rf"checkpoint .*step_8 is not used: ({message})"
    assert re.fullmatch(expected, record.getMessage()), record.getMessage()
    assert names(saved.directory) == ["damaged_step_8", "step_4", "step_6"]


def test_two_damaged_ones_are_passed_over(saved, caplog):
    flip_a_bit(saved.directory / "step_8")
    truncate(saved.directory / "step_6")
    assert saved.newest() == 4
    assert [record.args[0].name for record in caplog.records] == ["step_8", "step_6"]


def test_without_a_whole_one_each_fault_is_told_and_nothing_changes(saved):
    for step in (4, 6, 8):
        lose(saved.directory / f"step_{step}")
    expected = r"no checkpoint in .* can be used \(step_8: state.* step_4: .*\); begin anew with"
    with pytest.raises(InputError, match=expected):
        saved.newest()
    assert names(saved.directory) == ["step_4", "step_6", "step_8"]


def test_without_the_best_weights_no_later_one_is_of_use(saved):
    truncate(saved.directory / "step_4")
    with pytest.raises(InputError, match=r"step_8: its best weights are in step_4: model\.saf"):
        saved.newest()


def test_one_of_another_run_is_not_used(saved, trained):
    other = Checkpoints(saved.directory, run={"id": "another run"})
    other.save(9, Best().update(9, {"full": {"score": 1.0}}), trained)
    assert saved.newest() == 8
    assert "damaged_step_9" in names(saved.directory)


def test_a_damaged_one_is_out_of_the_way_of_the_next(saved, trained):
    best = Best().update(8, {"full": {"score": 0.95}})
    for _ in range(2):
        add(saved.directory / "step_8")
        assert saved.newest() == 6
        saved.save(8, best, trained)
    assert saved.newest() == 8
    assert {"damaged_step_8", "damaged_step_8_2"} <= set(names(saved.directory))


def test_what_a_kill_left_is_removed(saved):
    shutil.copytree(saved.directory / "step_8", saved.directory / "partial_step_10")
    assert saved.newest() == 8
    assert names(saved.directory) == ["step_4", "step_6", "step_8"]


def test_clearing_removes_all_but_what_is_not_ours(saved, caplog):
    saved.clear()
    assert not saved.directory.exists()
    saved.clear()


def test_clearing_leaves_what_others_put_there(saved, caplog):
    add(saved.directory / "step_8")
    (saved.directory / "mine").mkdir()
    saved.clear()
    assert names(saved.directory) == ["mine", "partial_step_8"]
    assert names(saved.directory / "partial_step_8") == ["notes.txt"]
    assert "is left: it holds mine, partial_step_8" in caplog.text


def test_the_best_weights_come_back(saved):
    best, target = Best(step=4), trained_for(0, value=0.9)
    saved.load_best(best, target.model)
    for name, values in weights_of(trained_for(1).model).items():
        np.testing.assert_array_equal(weights_of(target.model)[name], values)
    truncate(saved.directory / "step_4")
    with pytest.raises(InputError, match=r"step_4, the best, was changed: model\.safetensors has"):
        saved.load_best(best, target.model)


def test_in_memory_only_the_best_are_kept(trained):
    checkpoints = Checkpoints(None)
    checkpoints.save(1, Best(step=1), trained)
    other = trained_for(0, value=0.9)
    checkpoints.save(2, Best(step=1), other)
    checkpoints.load_best(Best(step=1), other.model)
    for name, values in weights_of(trained.model).items():
        np.testing.assert_array_equal(weights_of(other.model)[name], values)
    assert (checkpoints.newest(), checkpoints.how_to_continue) == (0, "nothing is saved")


def test_a_directory_that_was_removed_does_not_come_back_half(tmp_path, trained):
    checkpoints = Checkpoints(tmp_path / "gone" / "checkpoints")
    expected = r"checkpoint of step 3 cannot be written to .*: No such file or .*--resume"
    with pytest.raises(InputError, match=expected):
        checkpoints.save(3, Best(), trained)
    assert not (tmp_path / "gone").exists()
