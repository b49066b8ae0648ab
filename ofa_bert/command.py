"""How every command starts and fails."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ofa_bert import runtime
from ofa_bert.config import DeviceConfig
from ofa_bert.crash import report_crash, shows_details
from ofa_bert.errors import CheckError, InputError, LostPeerError
from ofa_bert.safe_text import one_line
from ofa_bert.stopping import Stopped, raising
from ofa_bert.streams import mend_streams

if TYPE_CHECKING:
    from ofa_bert.distributed import Ranks

logger = logging.getLogger(__name__)

PACKAGE_SCRIPT = str(Path(__file__).parent / "__main__.py")
"""What runs as ``python -m ofa_bert`` does, for a launcher that takes files."""

REFUSED_PATHS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP})
"""Errors that are of the path that comes with them. Another one, such as that nothing is there, may
as well be a fault of ours: where a user can be the cause, it is told where it comes up."""
FAILED_DISKS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
"""Errors of a disk, which come without a path where a file was written to."""


def run_script(main: Callable[[Sequence[str]], int | None]) -> NoReturn:
    """Run a command on this process's arguments and end with its code, whatever happens.

    An error of ours is one line too; ``run_command``, which tests call, lets it through.
    """
    argv = sys.argv[1:]
    mend_streams()
    try:
        code = run_command(main, argv)
    except Exception as error:  # what we did not foresee can be anything
        code = report_crash(error, argv)
    sys.exit(code)


def run_command(main: Callable[[Sequence[str]], int | None], argv: Sequence[str]) -> int:
    """Run ``main(argv)``: a user's mistake is one line on standard error and exit code 2.

    SIGINT and SIGTERM end it as cleanly as a mistake does, with 130 and 143.
    """
    with raising():
        return _run(main, argv)


def _run(main: Callable[[Sequence[str]], int | None], argv: Sequence[str]) -> int:
    try:
        return main(argv) or 0
    except Stopped as stopped:
        print(stopped, file=sys.stderr)  # noqa: T201
        return stopped.exit_code
    except (InputError, CheckError, LostPeerError) as error:
        if shows_details(argv):
            traceback.print_exc()
        print(f"error: {one_line(str(error))}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, InputError) else 1
    except MemoryError:
        print(  # noqa: T201
            "error: out of memory; end other programs, or use a machine with more memory",
            file=sys.stderr,
        )
        return 2
    except BrokenPipeError:
        # The reader of our output left: nothing more to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        path = error.filename if isinstance(error.filename, str | bytes) else None
        if error.errno not in FAILED_DISKS and (path is None or error.errno not in REFUSED_PATHS):
            raise
        if shows_details(argv):
            traceback.print_exc()
        named = "" if path is None else f"{one_line(os.fsdecode(path))}: "
        print(f"error: {named}{error.strerror}", file=sys.stderr)  # noqa: T201
        return 2


def run_on_devices(
    config: DeviceConfig, script: str, argv: Sequence[str], body: Callable[[Ranks], None]
) -> int:
    """Run ``body`` on the chosen device, or ``script`` again in one process for each GPU.

    Must be the first to import paddle, so that the math library can be set.

    Raises:
        InputError: if a device is asked for that is not there.
    """
    device, num_processes, ranks = _start(config)
    if num_processes > 1:
        from ofa_bert.distributed import launch

        with raising():  # again, as in _run_on
            return launch(script, argv, num_processes)
    _run_on(device, ranks, body)
    return 0


def run_on_one_device(config: DeviceConfig, body: Callable[[], None]) -> int:
    """Run ``body`` on the chosen device, in one process however many were asked for or launched.

    Must be the first to import paddle, so that the math library can be set.

    Raises:
        InputError: if a device is asked for that is not there.
    """
    device, num_processes, ranks = _start(config)
    if not ranks.is_main:
        return 0
    if max(num_processes, ranks.size) > 1:
        logger.warning("this command works in one process; it uses one device, %s", device)
    from ofa_bert.distributed import ALONE

    _run_on(device, ALONE, lambda ranks: body())
    return 0


def _start(config: DeviceConfig) -> tuple[str, int, Ranks]:
    """Set up the log and paddle.

    Returns:
        This process's device, how many processes are to be started instead where more than one,
        and this one among those that were.
    """
    set_up_logging(config.log_level)
    runtime.prepare(config.math_library)
    from ofa_bert import distributed

    ranks = distributed.launched_ranks()
    if ranks.size > 1:
        return distributed.launched_device(config.device, config.n_gpu), 1, ranks
    return *runtime.choose_device(config.device, config.n_gpu), ranks


def _run_on(device: str, ranks: Ranks, body: Callable[[Ranks], None]) -> None:
    import paddle

    from ofa_bert.distributed import join

    paddle.set_device(device)
    join(ranks)
    with raising():  # again: importing paddle puts its own handler of SIGTERM over ours
        body(ranks)


def set_up_logging(level: str) -> None:
    """Log to standard error, with times, above any progress bar."""
    from tqdm import tqdm

    class AboveTheBar(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tqdm.write(self.format(record), file=sys.stderr)

    logging.basicConfig(
        level=level.upper(),
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        force=True,
        handlers=[AboveTheBar()],
    )
    for noisy in ("matplotlib", "urllib3", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
