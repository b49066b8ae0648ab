"""The scene of the faults, and the table of what they did."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ofa_bert.durable import DamagedError, check_whole
from tests.faults.scene import COMMANDS, ROOT, Scene, Server

LEDGER: dict[str, Counter] = {}

PREPARE = """
import sys
from pathlib import Path
from ofa_bert.checkpoint.save import save_model
from tests.runs import write_rows
from tests.tiny import tiny_config, tiny_model, tiny_tokenizer

folder = Path(sys.argv[1])
config = tiny_config(num_classes=2, max_position_embeddings=20)
save_model(tiny_model(config), folder / "base", tiny_tokenizer(folder / "base"))
write_rows(folder / "train.tsv", 26, seed=1)
write_rows(folder / "dev.tsv", 11, seed=2)
"""


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    """The model, the data, and in a folder of each command's name what it makes undisturbed."""
    folder = tmp_path_factory.mktemp("scene")
    subprocess.run([sys.executable, "-c", PREPARE, str(folder)], cwd=ROOT, check=True)
    server = Server(*map(tmp_path_factory.mktemp, ("cache", "logs", "elsewhere")))
    try:
        scene = Scene(folder, server)
        for command in COMMANDS:
            scene.set_up(command)
        yield scene
    finally:
        server.close()


@pytest.fixture
def count():
    """Note a try of a fault for the table: what was lost, and what came out wrong."""

    def note(fault: str, *, lost: bool = False, wrong: bool = False) -> None:
        LEDGER.setdefault(fault, Counter()).update(tries=1, lost=int(lost), wrong=int(wrong))

    return note


@pytest.fixture
def check_after(scene, count):
    """Go on after a fault, and note what came of it."""

    def check(fault: str, command: str, output: Path) -> None:
        whole = whole_checkpoints(output)
        ended = scene.go_on(command, output)
        lost = ended.code != 0
        different = [] if lost else scene.differences(command, output)
        count(f"{fault}, {command}", lost=lost or not whole, wrong=bool(different))
        assert whole, sorted(output.glob("checkpoints/*/*"))
        assert not lost, ended.err
        assert not different

    return check


def whole_checkpoints(output: Path) -> bool:
    """Whether everything that bears a checkpoint's name is one."""
    for folder in output.glob("checkpoints/step_*"):
        try:
            check_whole(folder)
        except DamagedError:
            return False
    return True


def pytest_terminal_summary(terminalreporter):
    if LEDGER:
        terminalreporter.section("faults")
        terminalreporter.write_line("| fault | tries | lost | wrong |")
        terminalreporter.write_line("|---|---:|---:|---:|")
        for fault, counts in LEDGER.items():
            row = " | ".join(str(counts[name]) for name in ("tries", "lost", "wrong"))
            terminalreporter.write_line(f"| {fault} | {row} |")
