"""What importing the package sets for paddle, whose values hold, and what a process hands on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ofa_bert.runtime import PREPARE

ROOT = Path(__file__).parent.parent
THREADS, KERNELS, VIEWS = "MKL_NUM_THREADS", "MKL_DEBUG_CPU_TYPE", "FLAGS_use_stride_kernel"
NAMES = (THREADS, KERNELS, VIEWS)
# Eight cores of an AMD processor with AVX2, and no AVX-512.
MACHINE = """
import json, os, pathlib, subprocess, sys, types
os.sched_getaffinity = lambda process: range(8)
pathlib.Path.read_text = lambda *arguments: "vendor_id : AuthenticAMD\\nflags : fpu avx2 fma"
"""
FAKE_PADDLE = "sys.modules['paddle'] = types.ModuleType('paddle')\n"
SAY = f"print(json.dumps([os.environ.get(name) for name in {NAMES}]))\n"
# What paddle's launcher does to the environment of the processes it starts.
LAUNCHER = """
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["PADDLE_LOCAL_SIZE"] = "4"
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
"""


def users(**values):
    """This process's environment without what is set for paddle, and with a user's values."""
    chosen = (*NAMES, "OMP_NUM_THREADS", "GLOG_minloglevel", "GLIBC_TUNABLES", PREPARE)
    kept = {n: v for n, v in os.environ.items() if n not in chosen and "PADDLE" not in n}
    return {**kept, "PYTHONPATH": str(ROOT), **values}


def run(code, *argv, machine=MACHINE, **values):
    result = subprocess.run(
        [sys.executable, "-c", machine + code, *argv],
        env=users(**values),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result


def said(code, *argv, **values):
    result = run(code, *argv, **values)
    assert result.stderr == ""
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_importing_the_package_is_enough_whichever_name_comes_first():
    assert said(f"import ofa_bert\n{SAY}") == [["8", "5", "0"]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({THREADS: "3"}, ["3", "5", "0"]),
        ({"OMP_NUM_THREADS": "3"}, ["3", "5", "0"]),
        ({"OMP_NUM_THREADS": "1"}, ["1", "5", "0"]),
        ({KERNELS: "4", VIEWS: "1"}, ["8", "4", "1"]),
        ({PREPARE: "0"}, [None, None, None]),
    ],
)
def test_the_users_own_values_hold(values, expected):
    assert said(f"import ofa_bert\n{SAY}", **values) == [expected]


DEFAULT = f"from ofa_bert import runtime\nruntime.prepare('default')\n{SAY}"


def test_a_command_can_still_leave_the_math_library_alone():
    again = f"runtime.prepare()\n{SAY}"
    assert said(DEFAULT + again) == [["8", None, "0"], ["8", "5", "0"]]
    assert said(DEFAULT, **{KERNELS: "4"}) == [["8", "4", "0"]]
    assert said(DEFAULT, **{PREPARE: "0"}) == [["8", None, "0"]]


START = """
from ofa_bert import runtime
{before}
child = [sys.executable, "-c", sys.argv[1]]
subprocess.run(child, check=True, env=runtime.user_environment())
"""
TWO_CORES = MACHINE.replace("range(8)", "range(2)")


@pytest.mark.parametrize(
    ("before", "child", "expected"),
    [
        ("", f"import ofa_bert\n{SAY}", ["2", "5", "0"]),
        ("", DEFAULT, ["2", None, "0"]),
        # paddle's import, and a user who wants something else of the child.
        ("os.environ['OMP_NUM_THREADS'] = '1'", DEFAULT, ["2", None, "0"]),
        ("os.environ['OMP_NUM_THREADS'] = '4'", DEFAULT, ["4", None, "0"]),
        (f"os.environ['{KERNELS}'] = '4'", DEFAULT, ["2", "4", "0"]),
    ],
)
def test_a_child_of_ours_chooses_for_itself(before, child, expected):
    assert said(START.format(before=before), TWO_CORES + child) == [expected]


def test_a_child_of_ours_gets_the_users_one_thread():
    child = f"{TWO_CORES}import ofa_bert\n{SAY}"
    assert said(START.format(before=""), child, OMP_NUM_THREADS="1") == [["1", "5", "0"]]


def test_paddle_takes_what_is_set_when_it_comes_second():
    said = f"print(paddle.get_flags('{VIEWS}'))"
    result = run(f"import ofa_bert\nimport paddle\n{said}", machine="")
    assert result.stdout == f"{{'{VIEWS}': False}}\n"


USED = "import ofa_bert\nofa_bert.InputError\nfrom ofa_bert import runtime\nruntime.prepare()\n"


def test_a_paddle_that_came_first_is_told_once_with_what_to_do():
    result = run(FAKE_PADDLE + USED)
    assert result.stderr == (
        "paddle was imported before ofa_bert and computes with its own defaults, on the CPU with "
        "one thread and slower kernels; import ofa_bert first, or start Python with "
        f"{VIEWS}=0 {THREADS}=8 {KERNELS}=5\n"
    )


@pytest.mark.parametrize(
    ("code", "values"),
    [
        (USED, {}),
        (f"import ofa_bert\n{FAKE_PADDLE}{USED}", {}),
        (f"{DEFAULT}{FAKE_PADDLE}{USED}", {}),
        (FAKE_PADDLE + USED, {THREADS: "2", KERNELS: "5", VIEWS: "1"}),
        (FAKE_PADDLE + USED, {"OMP_NUM_THREADS": "2", KERNELS: "5", VIEWS: "1"}),
        (f"import ofa_bert\n{FAKE_PADDLE}{USED}", {PREPARE: "0"}),
    ],
)
def test_nothing_is_told_where_nothing_is_lost(code, values):
    assert run(code, **values).stderr == ""


@pytest.mark.parametrize(
    ("values", "threads"),
    [
        ({}, "2"),  # eight cores for four processes
        ({"OMP_NUM_THREADS": "1"}, "2"),  # as the launcher sets it
        ({"OMP_NUM_THREADS": "3"}, "3"),
        ({THREADS: "5"}, "5"),
    ],
)
def test_the_processes_of_a_machine_share_its_cores(values, threads):
    child = f"{MACHINE}import ofa_bert\n{SAY}"
    assert said(LAUNCHER, child, **values) == [[threads, "5", "0"]]


def test_paddles_own_launcher_is_known(tmp_path):
    (tmp_path / "worker.py").write_text(f"{MACHINE}import ofa_bert\n{SAY}")
    command = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir"]
    result = subprocess.run(
        [sys.executable, *command, str(tmp_path / "log"), str(tmp_path / "worker.py")],
        env=users(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    logs = [path.read_text() for path in (tmp_path / "log").glob("workerlog.*")]
    assert [log.splitlines()[-1] for log in logs] == ['["4", "5", "0"]'] * 2


def test_the_doctor_looks_at_the_users_own_values():
    code = """
from ofa_bert import runtime
from ofa_bert.diagnosis import check_threads
print(json.dumps(check_threads(runtime.user_environment()).found))
"""
    assert said(code) == ["8, one for each usable core"]
    assert said(code, **{THREADS: "3"}) == [f"{THREADS}=3"]
