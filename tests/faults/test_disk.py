"""The disk full at every write, in earnest (a small tmpfs) and by a failing system call."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from tests.faults.scene import COMMANDS

PAGE = 4096
MANY = [("finetune", 60), ("run_glue_ofa", 15), ("export", 15)]


@contextmanager
def small_disk(at, size):
    """Mount a disk of ``size`` bytes; give a function that changes its options."""
    at.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(at)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount")

    def remount(options):
        subprocess.run(["mount", "-o", f"remount,{options}", str(at)], check=True)

    try:
        yield remount
    finally:
        subprocess.run(["umount", str(at)], check=True)


def fill_and_go_on(scene, check_after, command, folder, size):
    with small_disk(folder, size) as remount:
        ended = scene.run(command, folder / "run")
        if ended.code != 0:
            ended.check_one_line()
            assert re.search("No space left on device|make room on the disk", ended.error)
        remount("size=16m")
        check_after("disk full", command, folder / "run")


@pytest.mark.parametrize("size", [30 * PAGE])
def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(
    scene, check_after, tmp_path, size
):
    fill_and_go_on(scene, check_after, "finetune", tmp_path / "disk", size)


@pytest.mark.faults
@pytest.mark.parametrize("command", COMMANDS)
def test_disks_of_many_sizes(scene, check_after, tmp_path, command):
    for pages in range(2, 90, 8):
        fill_and_go_on(scene, check_after, command, tmp_path / str(pages), pages * PAGE)


def fail_and_go_on(scene, check_after, command, output, number):
    ended = scene.run(command, output, {"fail_at": [str(output), number]})
    if ended.code != 0:
        ended.check_one_line()
    check_after("a write that fails", command, output)
    shutil.rmtree(output)


@pytest.mark.parametrize("number", [20, 45])
def test_a_failing_write_is_told(scene, check_after, tmp_path, number):
    fail_and_go_on(scene, check_after, "finetune", tmp_path / "run", number)


@pytest.mark.faults
@pytest.mark.parametrize(("command", "tries"), MANY)
def test_every_write_that_may_fail(scene, check_after, tmp_path, command, tries):
    changes = len(scene.undisturbed[command].below(scene.folder / command))
    numbers = random.Random(command).sample(range(1, changes + 1), min(tries, changes))
    for number in numbers:
        fail_and_go_on(scene, check_after, command, tmp_path / str(number), number)


@pytest.mark.parametrize("command", ["finetune", "export"])
def test_a_file_that_may_not_grow(scene, check_after, tmp_path, command):
    """As a quota, or a file system with a limit, has it."""
    ended = scene.run(command, tmp_path / "run", {"largest_file": 8 * PAGE // 4})
    ended.check_one_line()
    assert "File too large" in ended.error
    check_after("file too large", command, tmp_path / "run")


@pytest.mark.parametrize("command", ["finetune", "export"])
def test_a_directory_that_may_not_be_written(scene, count, tmp_path, command):
    with read_only(tmp_path / "disk") as folder:
        ended = scene.run(command, folder / "run")
    ended.check_one_line()
    assert "cannot be written: " in ended.error
    count(f"output directory read-only, {command}")


@contextmanager
def read_only(folder):
    if os.geteuid() == 0:  # root may write wherever permissions alone forbid it
        with small_disk(folder, 16 * PAGE) as remount:
            remount("ro")
            yield folder
        return
    folder.mkdir(mode=0o500)
    yield folder
