"""A lock file: one run at a time in a directory, and who it is."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path

from ofa_bert.errors import InputError

logger = logging.getLogger(__name__)

LOCK = "run.lock"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Holder:
    """The process that works in a directory."""

    host: str
    pid: int
    process: str
    """What tells it from a later process of the same number; empty where the system cannot."""
    since: str
    """When it began, for people."""

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended: only a process of this host can be asked."""
        return self.host == socket.gethostname() and self.process != _identity(self.pid)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory, for as long as the block runs.

    Raises:
        InputError: if another run holds it; says which.
        OSError: if the directory cannot be written.
    """
    path = directory / LOCK
    me = Holder(
        host=socket.gethostname(),
        pid=os.getpid(),
        process=_identity(os.getpid()),
        since=time.strftime("%Y-%m-%d %H:%M:%S"),
    )
    _acquire(path, me)
    try:
        yield
    finally:
        if read_holder(path) == me:
            path.unlink(missing_ok=True)


def read_holder(path: Path) -> Holder | None:
    """Read a lock file; None where there is none.

    Raises:
        InputError: if it is not ours.
    """
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        raise InputError(
            f"lock file {path} cannot be read; if no run works in {path.parent}, remove it"
        ) from None


def is_lock_file(name: str) -> bool:
    """Whether a file of this name is a lock, or was about to become one."""
    return name == LOCK or fnmatch(name, f".{LOCK}.*.tmp")


def _acquire(path: Path, me: Holder) -> None:
    # Two runs of this host must not both find the same lock stale and both take it.
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without it: the lock file alone must do
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        for draft in path.parent.glob(f".{path.name}.{me.host}.*.tmp"):
            draft.unlink()  # of a process that was killed: the others of this host wait here
        holder = read_holder(path)
        if holder is not None and not holder.is_gone:
            raise InputError(_refusal(path, holder))
        if holder is not None:
            logger.warning("took over the lock of %s, which has ended", holder)
            path.unlink()
        _create(path, me)
    finally:
        os.close(descriptor)


def _create(path: Path, me: Holder) -> None:
    """Make the lock file with all its content, or fail if another host was first."""
    draft = path.with_name(f".{path.name}.{me.host}.{me.pid}.tmp")
    try:
        draft.write_text(json.dumps(asdict(me)) + "\n", encoding="utf-8")
        os.link(draft, path)
    except FileExistsError:
        holder = read_holder(path)
        raise InputError(_refusal(path, holder or me)) from None
    finally:
        draft.unlink(missing_ok=True)


def _refusal(path: Path, holder: Holder) -> str:
    hint = "wait for it, or name another directory"
    if holder.host != socket.gethostname():
        hint = f"if it has ended, remove {path}"
    return f"directory {path.parent} is in use by {holder}; {hint}"


def _identity(pid: int) -> str:
    """Give the boot and the tick at which a process began; ``gone`` where there is none."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass  # It is there, and someone else's.
    try:
        # proc(5): the name, in parentheses, may hold anything; the state follows it, and 19 fields
        # later the time of the start.
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if stat[0] in "ZX":
            return "gone"  # Dead, and only not yet asked after by its parent.
        return f"{BOOT_ID.read_text().strip()} {stat[19]}"
    except (OSError, IndexError):
        return ""
