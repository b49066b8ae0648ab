"""Runs the commands of the package, each in a process of its own that a fault is done to.

Importing paddle takes longer than the whole of a tiny run, so this process imports it once and
each run is a fork of it: a real process, with memory, files, signals and an end of its own.

A request is a line of JSON on standard input, an answer a line on standard output:
``{"run": {...}}`` gives the run's process number, ``{"wait": pid}`` its exit code, negative for
a signal, once it has ended.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

os.environ["MKL_NUM_THREADS"] = "1"  # no thread may stand idle in the process that is forked

import export_model
import ofa_bert as ofa
import run_glue_ofa
from ofa_bert import cli
from ofa_bert.command import run_command

MAINS = {"finetune": cli.main, "run_glue_ofa": run_glue_ofa.main, "export": export_model.main}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")
GIVES_ROOM = ("os.remove", "os.rmdir", "os.truncate")


def serve() -> None:
    """Answer requests until standard input ends."""
    for name in ofa.__all__:
        getattr(ofa, name)
    for line in sys.stdin:
        request = json.loads(line)
        if "run" in request:
            answer = start(**request["run"])
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def start(command: str, argv: list[str], log: str, fault: dict[str, object]) -> int:
    """Fork a run; what it says goes to ``log`` and ``log.err``."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        for descriptor, path in [(0, os.devnull), (1, log), (2, f"{log}.err")]:
            flags = os.O_RDONLY if descriptor == 0 else NEW_FILE
            os.dup2(os.open(path, flags, 0o644), descriptor)
        for name, value in fault.items():
            FAULTS[name](value)
        code = run_command(MAINS[command], argv)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def is_change(event: str, args: tuple) -> bool:
    """Tell from an audit event whether a file or directory is about to change."""
    return bool(args[2] & WRITES) if event == "open" else event in CHANGES


def place_of(event: str, args: tuple) -> str:
    """Give the path that an audit event is about, which may be told from an open directory."""
    where = {"os.remove": 1, "os.rmdir": 1, "os.mkdir": 2, "os.rename": 2, "os.link": 2}.get(event)
    if where is None or args[where] == -1:
        return str(args[0])
    return os.path.join(os.readlink(f"/proc/self/fd/{args[where]}"), str(args[0]))


def at_change(folder: str, number: int, action) -> None:
    """Do something just before the run's ``number``-th change below ``folder``, from 1."""
    count = 0

    def watch(event, args):
        nonlocal count
        if is_change(event, args) and place_of(event, args).startswith(folder):
            count += 1
            if count == number:
                action(event)

    sys.addaudithook(watch)


def kill_at(where: list) -> None:
    """Kill the run at a change of the disk."""
    at_change(*where, lambda event: os.kill(os.getpid(), signal.SIGKILL))


def fail_at(where: list) -> None:
    """Let the disk be full at a change, and only then; giving room back never fails."""

    def fail(event):
        if event not in GIVES_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    at_change(*where, fail)


def note_changes(where: list) -> None:
    """Write every path that is opened for writing, made, renamed or removed to a file."""
    (path,) = where
    notes = os.open(path, NEW_FILE)

    def watch(event, args):
        if is_change(event, args):
            os.write(notes, f"{place_of(event, args)}\n".encode())

    sys.addaudithook(watch)


def largest_file(size: int) -> None:
    """Let no file grow beyond ``size`` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def more_memory(size: int) -> None:
    """Let the process take no more than ``size`` bytes above what it holds."""
    import paddle

    paddle.ones([2, 2]) @ paddle.ones([2, 2])  # paddle maps its math library at the first product
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + size
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def jumping_clock(seconds: float) -> None:
    """Let the clock on the wall leap to and fro at every look."""
    real, looks = time.time, 0

    def leap():
        nonlocal looks
        looks += 1
        return real() + seconds * (-1) ** looks

    time.time = leap


FAULTS = {
    f.__name__: f
    for f in (kill_at, fail_at, note_changes, largest_file, more_memory, jumping_clock)
}

if __name__ == "__main__":
    serve()
