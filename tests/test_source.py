"""Nothing in the package hands text of strangers to something that runs it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [*(ROOT / "ofa_bert").rglob("*.py"), ROOT / "run_glue_ofa.py", ROOT / "export_model.py"]
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads", "shelve.open"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "paddle.load", "torch.load"),
    *("tempfile.mktemp", "shutil.unpack_archive", "runpy.run_path"),
}
METHODS = ("extractall",)


def calls_of(source):
    """Give each call as ``(name, its keywords by name)``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            keywords = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            yield ast.unparse(node.func), keywords


def faults_of(source):
    """Name the calls that could run or unpack what a file says."""
    faults = []
    for name, keywords in calls_of(source):
        if name in FORBIDDEN or name.split(".")[-1] in METHODS:
            faults.append(name)
        if keywords.get("shell") or keywords.get("allow_pickle"):
            faults.append(f"{name} with a shell or a pickle")
    return faults


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_call_runs_text(path):
    assert faults_of(path.read_text(encoding="utf-8")) == []


def test_the_reader_of_calls_sees_them():
    source = """
import os, numpy as np
def f(x):
    os.system(x); eval(x)
    np.load(x, allow_pickle=True)
    subprocess.run(x, shell=True)
    archive.extractall()
    yaml.safe_load(x); np.load(x, allow_pickle=False); subprocess.run([x])
"""
    assert faults_of(source) == [
        "os.system",
        "eval",
        "np.load with a shell or a pickle",
        "subprocess.run with a shell or a pickle",
        "archive.extractall",
    ]
