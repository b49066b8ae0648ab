"""The versions that are installed are those the package asks for, and they work together."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

tomllib = pytest.importorskip("tomllib")

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
OPTIONAL = [(extra, Requirement(line)) for extra, lines in EXTRAS.items() for line in lines]
IMPORTED_AS = {
    "paddlepaddle-gpu": "paddle",
    "aistudio-sdk": "aistudio_sdk.hub",
    "paddlenlp": "paddlenlp.transformers",
}
NOT_IMPORTED = ("dev",)
"""Extras of tools that are run, not imported."""


def installed(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def wrong_pin(extra, failure):
    """Say which of an extra's pins let in what does not work."""
    found = ", ".join(
        f"{r} (installed: {installed(r.name)})" for other, r in OPTIONAL if other == extra
    )
    return f"extra [{extra}] of pyproject.toml pins {found}, and with these {failure}; mend the pin"


@pytest.mark.parametrize("requirement", CORE, ids=lambda r: r.name)
def test_what_the_package_needs_is_installed_in_a_version_it_admits(requirement):
    version = installed(requirement.name)
    if version is None and requirement.name == "paddlepaddle":
        version = installed("paddlepaddle-gpu")
    assert version is not None, f"{requirement} is not installed"
    assert requirement.specifier.contains(version, prereleases=True), (
        f"{requirement.name} {version} is installed; pyproject.toml asks for {requirement}"
    )


@pytest.mark.parametrize(("extra", "requirement"), OPTIONAL, ids=lambda value: str(value))
def test_what_is_installed_of_an_extra_is_a_version_it_admits(extra, requirement):
    version = installed(requirement.name)
    if version is None:
        pytest.skip(f"{requirement.name} of [{extra}] is not installed")
    assert requirement.specifier.contains(version, prereleases=True), (
        f"{requirement.name} {version} is installed; [{extra}] asks for {requirement}"
    )


@pytest.mark.parametrize("extra", [extra for extra in EXTRAS if extra not in NOT_IMPORTED])
def test_an_extra_that_is_installed_can_be_imported(extra):
    names = [r.name for other, r in OPTIONAL if other == extra]
    missing = [name for name in names if installed(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} of [{extra}] is not installed")
    modules = [IMPORTED_AS.get(name, name.replace("-", "_")) for name in names]
    result = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(modules)}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    last = (result.stderr.strip().splitlines() or [""])[-1]
    assert result.returncode == 0, wrong_pin(extra, f"importing {', '.join(modules)} fails: {last}")


def test_a_wrong_pin_is_told():
    message = wrong_pin("slim", "importing paddleslim fails: No module named 'decorator'")
    assert message.startswith("extra [slim] of pyproject.toml pins paddleslim==2.6.0 (installed: ")
    assert message.endswith("fails: No module named 'decorator'; mend the pin")


def locked_versions(path):
    """Read ``name==version`` lines."""
    lines = path.read_text(encoding="utf-8").splitlines()
    pins = [re.match(r"([\w.-]+)(?:\[[^]]*])?==([^\s;\\]+)", line) for line in lines]
    return {canonicalize_name(pin[1]): pin[2] for pin in pins if pin}


def test_the_lock_is_of_versions_the_package_admits():
    lock = locked_versions(ROOT / "requirements.txt")
    assert {"paddlepaddle", "paddlenlp", "paddleslim", "numpy", "pytest"} <= lock.keys()
    for requirement in [*CORE, *(r for extra, r in OPTIONAL if extra != "gpu")]:
        name = canonicalize_name(requirement.name)
        assert name in lock, f"requirements.txt lacks {requirement}; make it anew"
        assert requirement.specifier.contains(lock[name], prereleases=True), (
            f"requirements.txt pins {name}=={lock[name]}; pyproject.toml asks for {requirement}"
        )
