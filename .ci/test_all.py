"""Run the suite on every Python the package is for, as far as this machine can.

    python .ci/test_all.py [3.10 3.11 3.12]

Each gets an environment of its own in ``.venvs``, from the lock with its hashes: whole where every
locked package has a wheel for that Python, else without the extras, whose tests are then skipped. A
Python for which that cannot be had either is left out; the table at the end names it and why.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.10", "3.11", "3.12")
WITHOUT_WHEELS = "jieba,seqeval"
"""Plain Python, published as source alone: built with the locked setuptools."""
BUILD = {"packaging", "pip", "setuptools", "setuptools-scm", "wheel"}


def main(pythons: list[str]) -> int:
    """Install and test one after the other; 1 if the suite failed on one of them."""
    outcomes = {version: test_on(version) for version in pythons or PYTHONS}
    for version, outcome in outcomes.items():
        print(f"Python {version}: {outcome}")
    return int(any("failed" in outcome for outcome in outcomes.values()))


def test_on(version: str) -> str:
    """Say what came of one Python."""
    interpreter = find_interpreter(version)
    if interpreter is None:
        return "left out: there is no such interpreter here"
    folder = ROOT / ".venvs" / version
    run(interpreter, "-m", "venv", str(folder))
    python = str(folder / "bin" / "python")
    lock = read_lock()
    write_lock(folder / "build.txt", {name: lock[name] for name in BUILD})
    run(python, *PIP, str(folder / "build.txt"))
    reasons = []
    for what, packages in [("the whole lock", lock), ("the lock without extras", lean(lock))]:
        write_lock(folder / "lock.txt", packages)
        reason = missing_wheel(python, folder / "lock.txt")
        if reason is None:
            return f"{what}: {suite(python, folder)}" + "".join(f" ({r})" for r in reasons)
        reasons.append(reason)
    return f"left out: {reasons[-1]}"


PIP = ("-m", "pip", "install", "--quiet", "--require-hashes", "--no-build-isolation", "-r")


def suite(python: str, folder: Path) -> str:
    """Install and run all tests; the last line of what pytest says."""
    run(python, *PIP, str(folder / "lock.txt"))
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    done = subprocess.run([python, "-m", "pytest", "-q"], cwd=ROOT, text=True, capture_output=True)
    (folder / "pytest.txt").write_text(done.stdout + done.stderr)
    last = (done.stdout.strip().splitlines() or ["pytest failed to start"])[-1]
    return f"{last}; all of it in {folder.relative_to(ROOT)}/pytest.txt"


def find_interpreter(version: str) -> str | None:
    """Give a Python of that version: on the path, or pyenv's."""
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for candidate in [shutil.which(f"python{version}"), *map(str, pyenv)]:
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True).returncode == 0:
            return candidate
    return None


def missing_wheel(python: str, lock: Path) -> str | None:
    """Say which locked package has no wheel for this Python; None if all of them have."""
    command = [python, "-m", "pip", "install", "--dry-run", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--no-binary", WITHOUT_WHEELS, "--no-build-isolation"]
    done = subprocess.run([*command, "-r", str(lock)], text=True, capture_output=True)
    found = re.search(r"No matching distribution found for (\S+)", done.stderr)
    if done.returncode == 0:
        return None
    return f"no wheel of {found[1]}" if found else done.stderr.strip().splitlines()[-1]


def read_lock() -> dict[str, str]:
    """Give the text of each package of the lock, with its hashes and who asks for it."""
    text = (ROOT / "requirements.txt").read_text("utf-8")
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    return {block.split("==")[0]: block for block in blocks}


def lean(lock: dict[str, str]) -> dict[str, str]:
    """Keep what the package and its tests need, and what these need in turn."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[<>=!~; ]", line)[0].lower().replace("_", "-") for line in asked}
    kept = {name for name in names if name in lock} | BUILD
    while True:
        more = {name for name, text in lock.items() if name not in kept and kept & parents(text)}
        if not more:
            return {name: text for name, text in lock.items() if name in kept}
        kept |= more


def parents(text: str) -> set[str]:
    """Give who asks for a package, from the comment pip-compile leaves: # via a, b."""
    found = re.search(r"^    # via (.*)$", text, flags=re.MULTILINE)
    return set(found[1].split(", ")) if found else set()


def write_lock(path: Path, packages: dict[str, str]) -> None:
    """Write some packages of the lock."""
    path.write_text("".join(packages.values()), encoding="utf-8")


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
