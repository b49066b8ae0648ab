import os
import signal
import subprocess
import sys
import threading

import pytest

from ofa_bert.stopping import Stopped, deferred, raising

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_ends_the_work_where_nothing_is_lost(signum):
    before = signal.getsignal(signum)
    with pytest.raises(Stopped) as stopped, raising():
        os.kill(os.getpid(), signum)
    assert stopped.value.signum == signum
    assert stopped.value.exit_code == {signal.SIGINT: 130, signal.SIGTERM: 143}[signum]
    assert str(stopped.value) == f"stopped by {signum.name}"
    assert str(Stopped(signum, "all is saved")) == f"stopped by {signum.name}: all is saved"
    assert isinstance(stopped.value, KeyboardInterrupt)
    assert signal.getsignal(signum) == before


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_can_wait_and_says_so(signum, capfd):
    before = signal.getsignal(signum)
    with deferred() as stop:
        assert stop.signum == 0
        os.kill(os.getpid(), signum)
        assert stop.signum == signum
    assert signal.getsignal(signum) == before
    expected = f"\n{signum.name}: finishing the step and saving; again to exit at once\n"
    assert capfd.readouterr().err == expected


@pytest.mark.parametrize(("first", "second", "code"), [(2, 15, 143), (15, 2, 130), (15, 15, 143)])
def test_the_second_signal_exits_at_once(first, second, code):
    source = f"""
import os, time
from ofa_bert.stopping import deferred
try:
    with deferred():
        os.kill(os.getpid(), {first})
        print("goes on", flush=True)
        os.kill(os.getpid(), {second})
        print("not reached", flush=True)
finally:
    print("not reached either", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "goes on\n")


def test_a_launchers_repeated_sigterm_is_one_request(capfd):
    before = signal.getsignal(signal.SIGTERM)
    with raising():
        with deferred(launched=True) as stop:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
            assert stop.signum == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)  # while the process ends
    assert signal.getsignal(signal.SIGTERM) == before
    assert capfd.readouterr().err.count("finishing the step") == 1


def test_elsewhere_than_in_the_main_thread_signals_are_left_alone():
    before, found = signal.getsignal(signal.SIGTERM), []

    def work():
        with deferred() as stop, raising():
            found.append((stop.signum, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(0, before)]
