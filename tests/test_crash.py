"""An error of ours: one line with the file of details, and tests still see the exception."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ofa_bert import __version__
from ofa_bert.command import run_command
from ofa_bert.crash import EXIT_CODE, crash_details, shows_details

ROOT = Path(__file__).parent.parent
BROKEN = """
import sys
from ofa_bert.command import run_script
def main(argv):
    raise ZeroDivisionError("one\\nby \\x1b[2Jnought")
run_script(main)
"""


def run(cache, *argv, **environment):
    return subprocess.run(
        [sys.executable, "-c", BROKEN, *argv],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"OFA_BERT_CACHE": str(cache), "PATH": "", **environment},
    )


def test_one_line_says_what_and_where_to_report(tmp_path):
    result = run(tmp_path / "cache", "--seed", "3")
    (path,) = (tmp_path / "cache" / "errors").iterdir()
    assert (result.returncode, result.stdout) == (EXIT_CODE, "")
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(
        "error: this is a fault of ofa_bert, not yours: "
        f"ZeroDivisionError: one\\nby \\x1b[2Jnought; please report it with {path} on the issue"
    )
    details = path.read_text()
    assert "command: -c --seed 3\n" in details
    assert f"ofa_bert: {__version__}\n" in details
    assert "Traceback (most recent call last):" in details
    assert "in main" in details


@pytest.mark.parametrize("argv", [["--log_level", "debug"], ["--log_level=debug"]])
def test_debug_shows_the_details(tmp_path, argv):
    result = run(tmp_path, *argv)
    assert "Traceback (most recent call last):" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: this is a fault of ofa_bert")


@pytest.mark.parametrize(
    ("argv", "level", "shown"),
    [
        (["--log_level=debug"], "WARNING", True),  # before the log is set up
        (["--log_level", "debug"], "WARNING", True),
        (["--config", "with_log_level_debug.yaml"], "DEBUG", True),
        (["--output_dir", "debug"], "INFO", False),
        (["--log_level", "info", "debug"], "INFO", False),
        (["--log_level"], "WARNING", False),
    ],
)
def test_details_are_shown_where_the_log_level_is_debug(caplog, argv, level, shown):
    caplog.set_level(level)
    assert shows_details(argv) is shown


def test_without_a_cache_the_details_are_a_temporary_file(tmp_path):
    (tmp_path / "file").write_text("")
    result = run(tmp_path / "file", TMPDIR=str(tmp_path))
    (path,) = tmp_path.glob("error_*.txt")
    assert f"report it with {path} on" in result.stderr


def test_run_command_lets_the_exception_through():
    def main(argv):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(main, [])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/private/x"), "/private/x: Permission denied"),
        (OSError(36, "File name too long", b"caf\xe9"), "caf\\udce9: File name too long"),
        (
            OSError(28, "No space left on device", "/x\x1b[2J"),
            "/x\\x1b[2J: No space left on device",
        ),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_a_path_that_the_system_refuses_is_no_fault_of_ours(capsys, error, said):
    def main(argv):
        raise error

    assert run_command(main, []) == 2
    assert capsys.readouterr().err == f"error: {said}\n"


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file or directory", "/ofa_bert/we_forgot_it"),
        FileExistsError(17, "File exists", "/x"),
        PermissionError(13, "Permission denied"),
        PermissionError(13, "Permission denied", 5),
        OSError("of no number"),
    ],
)
def test_other_errors_of_files_may_be_faults_of_ours(error):
    def main(argv):
        raise error

    with pytest.raises(type(error)):
        run_command(main, [])


def test_details_of_an_error_with_a_cause():
    try:
        try:
            json.loads("{")
        except ValueError as error:
            raise KeyError("a") from error
    except KeyError as error:
        details = crash_details(error, ["--x"])
    assert "JSONDecodeError" in details
    assert details.endswith("KeyError: 'a'\n")
