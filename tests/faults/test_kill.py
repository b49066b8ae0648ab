"""SIGKILL at any moment, then resume: the same bits as if nothing had happened."""

from __future__ import annotations

import random
import shutil
import time

import pytest

from tests.faults.scene import COMMANDS

SHORT = [("finetune", 3), ("run_glue_ofa", 1), ("export", 1)]
LONG = 25
"""Tries of each of the two kinds of moment: 50 for each command."""


def kill_while_it_writes(scene, check_after, command, tmp_path, tries):
    """Most of these moments lie within a save: a run of this size does little else."""
    changes = len(scene.undisturbed[command].below(scene.folder / command))
    for number in random.Random(command).sample(range(1, changes + 1), tries):
        output = tmp_path / str(number)
        ended = scene.run(command, output, {"kill_at": [str(output), number]})
        assert ended.code == -9, (number, changes, ended.err)
        check_after("SIGKILL while it writes", command, output)
        shutil.rmtree(output)


@pytest.mark.parametrize(("command", "tries"), SHORT)
def test_killed_while_it_writes(scene, check_after, tmp_path, command, tries):
    kill_while_it_writes(scene, check_after, command, tmp_path, tries)


@pytest.mark.faults
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_while_it_writes_again_and_again(scene, check_after, tmp_path, command):
    kill_while_it_writes(scene, check_after, command, tmp_path, LONG)


@pytest.mark.faults
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_any_time(scene, check_after, tmp_path, command):
    moments = random.Random(command)
    for number in range(LONG):
        output = tmp_path / str(number)
        run = scene.server.start(command, scene.argv(command, output))
        time.sleep(moments.uniform(0.0, scene.undisturbed[command].seconds))
        run.signal()
        run.wait()
        check_after("SIGKILL at any time", command, output)
        shutil.rmtree(output)
