"""Standard streams that are closed, or cannot hold a character."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ofa_bert.streams import set_output

ROOT = Path(__file__).parent.parent
SCRIPT = """
import logging
import sys
from ofa_bert.command import run_script, set_up_logging
def main(argv):
    set_up_logging("info")
    with open(argv[0], "w") as file:
        print("好 é")
        logging.info("a line of the log")
        file.write(f"{sys.stdin.read()!r}, {file.fileno() > 2}")
run_script(main)
"""
SAID, LOGGED = b"\\u597d \\xe9\n", b"INFO a line of the log\n"


def run(path, closed=""):
    """Run the script with the streams closed that shell redirections name."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", SCRIPT, str(path)],
        input=b"asked",
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )


def test_a_character_that_the_terminal_lacks_is_escaped(tmp_path):
    result = run(tmp_path / "file")
    assert (result.returncode, result.stdout) == (0, SAID)
    assert result.stderr.endswith(LOGGED)
    assert (tmp_path / "file").read_text() == "'asked', True"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "<&- 2>&-"])
def test_a_closed_stream_takes_nothing_and_nothing_takes_its_place(tmp_path, closed):
    result = run(tmp_path / "file", closed)
    assert result.returncode == 0, result.stderr
    redirections = closed.split()
    assert result.stdout == (b"" if ">&-" in redirections else SAID)
    # A log line begins with the time.
    assert result.stderr[len("12:34:56 ") :] == (b"" if "2>&-" in redirections else LOGGED)
    asked = "" if "<&-" in redirections else "asked"
    assert (tmp_path / "file").read_text() == f"{asked!r}, True"


def test_what_stands_in_the_place_of_standard_output_is_left(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    set_output(encoding="utf-8")
    assert sys.stdout is None
