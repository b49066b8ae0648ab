"""A checkpoint that was damaged, and an input that changed, between a kill and the resume."""

from __future__ import annotations

import shutil

import pytest

from tests.faults.scene import outcome

STEP = {"finetune": 9, "run_glue_ofa": 6}
"""The last but one checkpoint of each: of 12 steps, and the last of 6."""


def flip_a_bit(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-7] ^= 16
    path.write_bytes(content)


def truncate(folder):
    path = folder / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def lose(folder):
    (folder / "state.json").unlink()


def add(folder):
    (folder / "core").write_bytes(b"foreign")


DAMAGES = {
    "a flipped bit": (flip_a_bit, "the content of model.safetensors has changed"),
    "a truncated file": (truncate, "optimizer.safetensors has 1000 bytes, not "),
    "a missing file": (lose, "state.json is missing"),
    "a foreign file": (add, "core does not belong to it"),
}


@pytest.fixture(scope="module")
def stopped(scene, tmp_path_factory):
    """A run of each command that was killed after two checkpoints and more."""
    folder = tmp_path_factory.mktemp("stopped")

    def copy(command, output):
        if not (folder / command).exists():
            scene.stop_after(command, folder / command, STEP[command])
        shutil.copytree(folder / command, output)
        return output

    return copy


def damage_and_resume(scene, stopped, count, command, case, output):
    damage, message = DAMAGES[case]
    newest = stopped(command, output) / "checkpoints" / f"step_{STEP[command]}"
    damage(newest)
    ended = scene.run(command, output, resume=True)
    # What is set aside with a foreign file in it is left: we did not make that file.
    left = output / "checkpoints" / f"partial_damaged_step_{STEP[command]}"
    if case == "a foreign file":
        assert [path.name for path in left.iterdir()] == ["core"]
        shutil.rmtree(left.parent)
    different = scene.differences(command, output)
    count(f"checkpoint with {case}, {command}", lost=ended.code != 0, wrong=bool(different))
    assert ended.code == 0, ended.err
    assert f"WARNING checkpoint {newest} is not used: {message}" in ended.err
    assert not different


@pytest.mark.parametrize("case", ["a flipped bit", "a foreign file"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(
    scene, stopped, count, tmp_path, case
):
    damage_and_resume(scene, stopped, count, "finetune", case, tmp_path / "run")


@pytest.mark.faults
@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_checkpoint_of_a_supernet(scene, stopped, count, tmp_path, case):
    damage_and_resume(scene, stopped, count, "run_glue_ofa", case, tmp_path / "run")


def other_row(path):
    lines = path.read_text().splitlines()
    words, label = lines[3].split("\t")
    lines[3] = f"w1 {words}\t{label}"
    path.write_text("\n".join(lines) + "\n")


def other_label(path):
    lines = path.read_text().splitlines()
    words, label = lines[3].split("\t")
    lines[3] = f"{words}\t{'bad' if label == 'good' else 'good'}"
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("flag", "change", "what"),
    [
        ("train_file", other_row, "training rows"),
        ("dev_file", other_label, "dev rows"),
    ],
)
def test_a_data_file_that_changed_is_named_and_refused(
    scene, stopped, count, tmp_path, flag, change, what
):
    output = stopped("finetune", tmp_path / "run")
    name = f"{flag.removesuffix('_file')}.tsv"
    path, kept = scene.folder / name, (scene.folder / name).read_bytes()
    (output / "run.lock").unlink()
    before = outcome(output)
    try:
        change(path)
        ended = scene.run("finetune", output, resume=True)
    finally:
        path.write_bytes(kept)
    ended.check_one_line()
    assert f"{what} ({path}) changed since the start; set them back" in ended.error
    assert outcome(output) == before
    ended = scene.run("finetune", output, resume=True)
    different = scene.differences("finetune", output)
    count("data file changed, finetune", lost=ended.code != 0, wrong=bool(different))
    assert not different


def test_settings_that_change_the_result_are_refused_and_others_taken(scene, stopped, tmp_path):
    output = stopped("finetune", tmp_path / "run")
    ended = scene.run("finetune", output, resume=True, save_steps=4, keep_checkpoints=1)
    ended.check_one_line()
    assert "save_steps was 3, is 4; set them back" in ended.error
    assert "keep_checkpoints" not in ended.error
    ended = scene.run("finetune", output, resume=True, keep_checkpoints=1)
    assert ended.code == 0, ended.err
    names = scene.differences("finetune", output)
    assert names == ["results.json", "train_config.yaml"]  # they say how many were kept
