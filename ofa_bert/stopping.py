"""SIGINT and SIGTERM: at once where nothing would be lost, else when the step is done."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], None]


class Stopped(KeyboardInterrupt):
    """The user or the system asked the program to end: no error, so no handler of errors takes it.

    Args:
        signum: the signal.
        message: what became of the work; empty where there is nothing to say.
    """

    def __init__(self, signum: int, message: str = "") -> None:
        super().__init__(message)
        self.signum = signum

    def __str__(self) -> str:
        said = KeyboardInterrupt.__str__(self)
        return f"stopped by {signal.Signals(self.signum).name}{': ' if said else ''}{said}"

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that ended so: 130 or 143."""
        return 128 + self.signum


class StopRequest:
    """Whether a signal came while the work went on.

    Args:
        launched: whether a launcher started this process; paddle's sends SIGTERM three times.
    """

    def __init__(self, launched: bool) -> None:
        self.signum = 0
        self.launched = launched

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """Note the first signal; exit at once at the second."""
        if self.signum and self.launched and signum == signal.SIGTERM:
            return
        if self.signum:
            os._exit(128 + signum)  # Whatever is on the disk is whole at any moment.
        self.signum = signum
        # Not logging: the signal may have come while a line was being logged.
        name = signal.Signals(signum).name
        os.write(2, f"\n{name}: finishing the step and saving; again to exit at once\n".encode())


@contextmanager
def raising() -> Iterator[None]:
    """Raise ``Stopped`` wherever the program is when a signal comes, so that it cleans up."""

    def handle(signum: int, frame: FrameType | None) -> None:
        raise Stopped(signum)

    with _handled_by(handle):
        yield


@contextmanager
def deferred(launched: bool = False) -> Iterator[StopRequest]:
    """Only note a signal, for the work inside to end when it can be continued."""
    request = StopRequest(launched)
    try:
        with _handled_by(request.handle):
            yield request
    finally:
        if launched and request.signum:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the repeats, while all ends


@contextmanager
def _handled_by(handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals are the main thread's.
        return
    before = {signum: signal.signal(signum, handler) for signum in SIGNALS}
    try:
        yield
    finally:
        for signum, previous in before.items():
            signal.signal(signum, previous)
