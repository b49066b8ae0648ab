"""The doctor knows the conflicts we met by what they say, and what mends them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofa_bert import __version__, cli, diagnosis
from ofa_bert.commands import doctor
from ofa_bert.diagnosis import (
    Finding,
    check_extra,
    check_folder,
    check_math_library,
    check_memory,
    check_threads,
    check_versions,
    import_error,
    remedy_for,
)
from ofa_bert.runtime import usable_cores

# What each said when it was met.
CONFLICTS = {
    "ImportError: cannot import name 'download' from 'aistudio_sdk.hub' (/x/hub.py)": (
        "pip install 'aistudio-sdk<0.3'"
    ),
    "ImportError: pyarrow requires NumPy 2.0 or newer; found 1.26.4": "pip install 'pyarrow<26'",
    "ModuleNotFoundError: No module named 'decorator'": "pip install decorator",
    "ModuleNotFoundError: No module named 'pkg_resources'": "pip install 'setuptools<81'",
    "ImportError: libGL.so.1: cannot open shared object file": "e.g. libgl1",
    "OSError: libcudart.so.12: cannot open shared object file": "or paddlepaddle for the CPU",
    "Illegal instruction (SIGILL)": "--math_library default",
    "ModuleNotFoundError: No module named 'paddle'": "pip install 'paddlepaddle>=3.1'",
    "AttributeError: something new": "install what requirements.txt pins",
}


@pytest.mark.parametrize("error", CONFLICTS)
def test_a_conflict_is_known_by_its_symptom(error):
    assert CONFLICTS[error] in remedy_for(error)


def test_the_conflicts_are_those_the_pins_prevent():
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    for pin in ("aistudio-sdk<0.3", "pyarrow<26", "setuptools<81"):
        assert f'"{pin}"' in text
        assert any(pin in remedy for remedy in diagnosis.SYMPTOMS.values())


def broken_module(folder, name, code):
    (folder / f"{name}.py").write_text(code)


def test_a_broken_module_is_found_by_importing_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    broken_module(tmp_path, "needs_more", "import nothing_of_that_name")
    broken_module(tmp_path, "dies", "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    broken_module(tmp_path, "noisy", "import sys; print('x', file=sys.stderr)")
    expected = "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert import_error("needs_more") == expected
    assert import_error("dies") == "Illegal instruction (SIGILL)"
    assert import_error("noisy") is None


def installed(monkeypatch, versions):
    monkeypatch.setattr(diagnosis, "_installed", versions.get)


def test_an_extra_that_cannot_be_imported_says_what_to_do(monkeypatch):
    installed(monkeypatch, {"paddlenlp": "3.0.0b4", "datasets": "5.0", "paddle2onnx": "2.1"})
    errors = list(CONFLICTS)
    finding = check_extra("paddlenlp", lambda module: errors[0])
    assert finding.found == f"paddlenlp 3.0.0b4: {errors[0]}"
    assert finding.remedy == "pip install 'aistudio-sdk<0.3'"
    healthy = check_extra("paddlenlp", lambda module: None)
    assert healthy == Finding("extra [paddlenlp]", "paddlenlp 3.0.0b4, datasets 5.0")
    assert check_extra("slim") == Finding("extra [slim]", "not installed")
    half = check_extra("onnx", lambda module: None)
    assert (half.found, half.remedy) == (
        "onnxruntime is not installed",
        "pip install 'ofa_bert[onnx]'",
    )
    installed(monkeypatch, {"datasets": "5.0", "onnxruntime": "1.18"})
    for extra in ("paddlenlp", "onnx"):
        assert check_extra(extra) == Finding(f"extra [{extra}]", "not installed")


@pytest.mark.parametrize(
    ("environment", "remedy"),
    [
        ({}, None),
        ({"OMP_NUM_THREADS": str(usable_cores())}, None),
        ({"OMP_NUM_THREADS": str(usable_cores() + 1)}, "unset OMP_NUM_THREADS unless it is meant"),
        ({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": str(usable_cores())}, None),
        ({"MKL_NUM_THREADS": "many"}, "unset MKL_NUM_THREADS, no number"),
    ],
)
def test_threads(environment, remedy):
    found = check_threads(environment)
    assert (found.remedy or "").startswith(remedy or ""), found
    assert (found.remedy is None) == (remedy is None)


def test_math_library():
    assert check_math_library({}, None).found.startswith("MKL, its own choice of kernels, on ")
    assert check_math_library({}, "7").found.startswith("MKL, kernels 7, on ")
    assert check_math_library({"MKL_DEBUG_CPU_TYPE": "5"}, "5").remedy is None
    wrong = check_math_library({"MKL_DEBUG_CPU_TYPE": "7"}, "5")
    assert wrong.remedy == "unset MKL_DEBUG_CPU_TYPE: 5 is what this processor has"


def test_folders_and_memory(tmp_path, monkeypatch):
    room = check_folder("cache", tmp_path / "not" / "yet")
    assert room.found.startswith(f"{tmp_path / 'not' / 'yet'}, ")
    monkeypatch.setattr(diagnosis, "SMALLEST_DISK_GB", 1e9)
    assert check_folder("cache", tmp_path).remedy == ("free 1e+09 GB there, or name another folder")
    monkeypatch.setattr(diagnosis.os, "access", lambda path, mode: False)  # root may write anywhere
    assert check_folder("cache", tmp_path).found == f"{tmp_path} may not be written"
    assert check_memory(8 * 10**9, 4 * 10**9) == Finding("memory", "4.0 of 8.0 GB free")
    assert check_memory(8 * 10**9, 10**9).remedy is not None


def test_two_paddles_or_an_old_one_are_a_problem(monkeypatch):
    installed(monkeypatch, {"paddlepaddle": "3.3.1", "paddlepaddle-gpu": "3.3.1"})
    assert "pip uninstall both" in str(diagnosis.check_paddle().remedy)
    installed(monkeypatch, {"paddlepaddle-gpu": "2.6.2"})
    assert "requirements-gpu.txt" in str(diagnosis.check_paddle().remedy)


def test_a_version_that_is_too_old_is_named(monkeypatch):
    installed(monkeypatch, {"numpy": "1.20.0", "tqdm": "4.70"})
    found = {finding.name: finding for finding in check_versions()}
    assert found["ofa_bert"].found.startswith(f"{__version__} on Python ")
    assert found["numpy"].remedy == "pip install 'numpy>=1.26'"
    assert found["tqdm"].remedy is None
    assert found["scipy"].found == "not installed"


def problems(monkeypatch, **versions):
    """Name what is wrong where this is installed, and all that the package itself asks for."""
    own = {"paddlepaddle": "3.3.1", "numpy": "1.26.4", "tokenizers": "0.21", "safetensors": "0.5"}
    own |= {"pyyaml": "6.0", "tqdm": "4.67", "scikit-learn": "1.5", "scipy": "1.13"}
    installed(monkeypatch, own | {name.replace("_", "-"): v for name, v in versions.items()})
    return {finding.name: finding.remedy for finding in check_versions() if finding.remedy}


def test_what_is_installed_for_another_reason_is_no_problem(monkeypatch):
    assert problems(monkeypatch, pytest="8.0", ruff="0.1", setuptools="90", pyarrow="30") == {}
    assert problems(monkeypatch, onnxruntime="1.0", datasets="5.0", aistudio_sdk="0.4") == {}
    with_extra = problems(monkeypatch, paddlenlp="3.0.0b4", pyarrow="30", setuptools="90")
    assert with_extra == {"pyarrow": "pip install 'pyarrow<26'"}
    with_two = problems(monkeypatch, paddleslim="2.5.0", setuptools="90", paddle2onnx="2.1")
    assert with_two == {
        "paddleslim": "pip install 'paddleslim==2.6.0'",
        "setuptools": "pip install 'setuptools<81'",
    }


def test_the_report_and_its_code(monkeypatch, capsys):
    findings = [Finding("a", "well"), Finding("longer", "bad", "mend it")]
    monkeypatch.setattr(doctor, "diagnose", lambda: findings)
    assert cli.main(["doctor", "--log_level", "warning"]) == 1
    assert capsys.readouterr().out == (
        "  a       well\n! longer  bad\n          -> mend it\n1 problem found\n"
    )
    monkeypatch.setattr(doctor, "diagnose", lambda: findings[:1])
    assert cli.main(["doctor"]) == 0
    assert capsys.readouterr().out.endswith("0 problems found\n")


@pytest.mark.slow
def test_this_environment_is_well(capsys):
    """Imports every extra: a minute."""
    code = cli.main(["doctor"])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "extra [paddlenlp]" in said
