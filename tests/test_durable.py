import json
import os
from dataclasses import replace

import pytest

from ofa_bert.checkpointing import Checkpoints
from ofa_bert.durable import (
    DamagedError,
    check_whole,
    new_directory,
    remove_directory,
    sha256,
)
from ofa_bert.export.staging import SUB_MODEL, staged
from ofa_bert.metrics_log import MetricsLog
from ofa_bert.run_folder import RunFolder
from ofa_bert.scores import Best
from tests.trained import trained_for

NAMES = ("a", "b")
# The answers of FIPS 180-2, appendix B.1, and of the empty message.
HASH_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
HASH_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def write(target):
    with new_directory(target, NAMES) as folder:
        (folder / "a").write_bytes(b"abc")
        (folder / "b").write_bytes(b"")
    return target


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_hash_is_the_standards(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x") == HASH_OF_ABC


def test_a_directory_appears_with_a_manifest_of_its_files(tmp_path):
    with new_directory(tmp_path / "x", NAMES) as folder:
        (folder / "a").write_bytes(b"abc")
        assert names(tmp_path) == ["partial_x"]
    assert names(tmp_path) == ["x"]
    write(tmp_path / "y")
    assert json.loads((tmp_path / "y" / "manifest.json").read_text()) == {
        "a": {"bytes": 3, "sha256": HASH_OF_ABC},
        "b": {"bytes": 0, "sha256": HASH_OF_NOTHING},
    }
    check_whole(tmp_path / "y")


@pytest.fixture
def synced(monkeypatch):
    """The names of what is flushed to the disk, in order."""
    found, fsync = [], os.fsync

    def watched(descriptor):
        found.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    return found


def test_all_is_on_the_disk_before_the_directory_has_its_name(tmp_path, synced):
    """The manifest after the files it vouches for, the name after the manifest."""
    write(tmp_path / "x")
    assert synced == ["a", "b", "manifest.json", "partial_x", tmp_path.name]


def test_the_lines_that_a_checkpoint_counts_on_are_on_the_disk_first(tmp_path, synced):
    trained = trained_for(1)
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.path.write_text('{"step": 1}\n')
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, Best(), replace(trained, metrics_log=log))
    assert synced[0] == "metrics.jsonl"
    assert synced[-2:] == ["partial_step_1", "checkpoints"]


def test_the_result_is_on_the_disk_before_the_checkpoints_go(tmp_path, synced, monkeypatch):
    monkeypatch.setattr(Checkpoints, "clear", lambda self: synced.append("cleared"))
    RunFolder(tmp_path, 2, {}).finish({})
    assert synced == [f".results.json.{os.getpid()}.tmp", tmp_path.name, "cleared"]


def test_an_export_is_on_the_disk_before_it_replaces_another(tmp_path, synced):
    with staged(tmp_path / "x", SUB_MODEL) as stage:
        for name in ("model.safetensors", "config.json"):
            (stage / name).write_text("a")
    assert sorted(synced[:2]) == ["config.json", "model.safetensors"]
    assert synced[2:] == [".filling", "x"]


def test_a_failure_leaves_nothing(tmp_path):
    def write_and_fail():
        with new_directory(tmp_path / "x", NAMES) as folder:
            (folder / "a").write_bytes(b"abc")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_and_fail()
    assert names(tmp_path) == []


def test_what_a_kill_left_is_replaced(tmp_path):
    (tmp_path / "partial_x").mkdir()
    (tmp_path / "partial_x" / "b").write_bytes(b"old")
    (tmp_path / "partial_x" / "manifest.json").write_bytes(b"{")
    write(tmp_path / "x")
    assert names(tmp_path) == ["x"]
    check_whole(tmp_path / "x")


def flip(folder):
    (folder / "a").write_bytes(b"abd")


def grow(folder):
    (folder / "b").write_bytes(b"1")


def lose(folder):
    (folder / "a").unlink()


def add(folder):
    (folder / "c").write_bytes(b"")


def nest(folder):
    (folder / "b").unlink()
    (folder / "b").mkdir()


def manifest(text):
    def damage(folder):
        (folder / "manifest.json").write_text(text)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip, "the content of a has changed"),
        (grow, "b has 1 bytes, not 0"),
        (lose, "a is missing"),
        (add, "c does not belong to it"),
        (nest, r"b (has \d+ bytes, not 0|cannot be read: Is a directory)"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
        (manifest("{"), "manifest.json cannot be read"),
        (manifest("[]"), "manifest.json cannot be read"),
        (manifest('{"a": 1}'), "manifest.json cannot be read"),
        (manifest('{"a": {"bytes": "x", "sha256": ""}}'), "manifest.json cannot be read"),
        (manifest("[" * 100_000), "manifest.json cannot be read"),
        (manifest("{}"), "a does not belong to it"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, damage, message):
    damage(write(tmp_path / "x"))
    with pytest.raises(DamagedError, match=f"^{message}$"):
        check_whole(tmp_path / "x")


def test_removing_leaves_what_others_put_there(tmp_path):
    remove_directory(write(tmp_path / "x"), NAMES)
    assert names(tmp_path) == []
    add(write(tmp_path / "y"))
    remove_directory(tmp_path / "y", NAMES)
    assert names(tmp_path / "partial_y") == ["c"]
    remove_directory(tmp_path / "gone", NAMES)


def test_a_link_is_not_followed(tmp_path):
    write(tmp_path / "x")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    remove_directory(tmp_path / "link", NAMES)
    check_whole(tmp_path / "x")
