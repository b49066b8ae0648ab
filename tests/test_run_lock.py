import json
import logging
import os
import socket
import subprocess
import sys
import time

import pytest

from ofa_bert.errors import InputError
from ofa_bert.run_lock import LOCK, is_lock_file, locked, read_holder

HERE = socket.gethostname()


def write_lock(folder, **changes):
    values = {"host": HERE, "pid": os.getpid(), "process": "x", "since": "then", **changes}
    (folder / LOCK).write_text(json.dumps(values))


@pytest.fixture
def ended():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_lock_says_who_holds_it_and_goes(tmp_path):
    with locked(tmp_path):
        holder = json.loads((tmp_path / LOCK).read_text())
        assert (holder["host"], holder["pid"]) == (HERE, os.getpid())
        assert not read_holder(tmp_path / LOCK).is_gone
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert list(tmp_path.iterdir()) == []


def test_it_goes_after_an_error_too(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_is_refused_and_told_of_the_first(tmp_path):
    with locked(tmp_path):
        before = (tmp_path / LOCK).read_bytes()
        expected = rf"is in use by process {os.getpid()} on {HERE}, since \d+-.*; wait for it, or"
        with pytest.raises(InputError, match=expected), locked(tmp_path):
            raise AssertionError("not reached")
        assert (tmp_path / LOCK).read_bytes() == before


def test_the_lock_of_a_process_that_ended_is_taken_over(tmp_path, ended, caplog):
    write_lock(tmp_path, pid=ended)
    with caplog.at_level(logging.WARNING), locked(tmp_path):
        assert read_holder(tmp_path / LOCK).pid == os.getpid()
    assert f"took over the lock of process {ended} on {HERE}, since then, which has" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_another_process_got_since_is_no_holder(tmp_path):
    with locked(tmp_path):
        mine = read_holder(tmp_path / LOCK).process
    boot, start = mine.split()
    with open("/proc/self/stat") as file:
        assert start == file.read().rpartition(")")[2].split()[19]
    for other in (f"{boot} {int(start) - 1}", f"0{boot} {start}"):  # an earlier one; another boot
        write_lock(tmp_path, process=other)
        with locked(tmp_path):
            pass
    write_lock(tmp_path, process=mine)
    with pytest.raises(InputError, match="is in use by"), locked(tmp_path):
        raise AssertionError("not reached")


def test_a_killed_process_that_nobody_waited_for_is_no_holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    write_lock(tmp_path, pid=process.pid)
    with locked(tmp_path):
        pass
    process.communicate()


def test_another_hosts_lock_is_refused_with_what_to_do(tmp_path, ended):
    write_lock(tmp_path, host="elsewhere", pid=ended)
    expected = rf"by process {ended} on elsewhere, since then; if it has ended, remove .*lock"
    with pytest.raises(InputError, match=expected), locked(tmp_path):
        raise AssertionError("not reached")
    assert read_holder(tmp_path / LOCK).host == "elsewhere"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "x"}'])
def test_a_lock_that_is_none_of_ours_is_not_removed(tmp_path, content):
    (tmp_path / LOCK).write_text(content)
    with (
        pytest.raises(InputError, match=r"run\.lock cannot be read; if no run works in .*remove"),
        locked(tmp_path),
    ):
        raise AssertionError("not reached")
    assert (tmp_path / LOCK).read_text() == content


def test_what_a_kill_left_before_the_lock_stood_is_removed(tmp_path):
    draft = tmp_path / f".run.lock.{HERE}.123.tmp"
    draft.write_text("{")
    assert is_lock_file(draft.name)
    assert is_lock_file("run.lock")
    assert not is_lock_file("run.lock.txt")
    with locked(tmp_path):
        assert not draft.exists()


def test_a_lock_that_someone_else_holds_by_now_is_left(tmp_path):
    with locked(tmp_path):
        write_lock(tmp_path, host="elsewhere")
    assert read_holder(tmp_path / LOCK).host == "elsewhere"


RACE = """
import sys, time
from pathlib import Path
from ofa_bert.errors import InputError
from ofa_bert.run_lock import locked
folder = Path(sys.argv[1])
(folder / f"ready_{sys.argv[2]}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
try:
    with locked(folder):
        (folder / f"held_{sys.argv[2]}").touch()
        input()
except InputError:
    (folder / f"refused_{sys.argv[2]}").touch()
"""


def test_of_many_at_once_one_takes_over(tmp_path, ended):
    write_lock(tmp_path, pid=ended)
    runs = [
        subprocess.Popen([sys.executable, "-c", RACE, str(tmp_path), str(i)], stdin=subprocess.PIPE)
        for i in range(5)
    ]
    while len(list(tmp_path.glob("ready_*"))) < len(runs):
        assert all(run.poll() is None for run in runs)
        time.sleep(0.01)
    (tmp_path / "go").touch()
    while len(list(tmp_path.glob("held_*")) + list(tmp_path.glob("refused_*"))) < len(runs):
        time.sleep(0.01)
    assert len(list(tmp_path.glob("held_*"))) == 1
    for run in runs:
        run.communicate(b"\n")
    assert not (tmp_path / LOCK).exists()
