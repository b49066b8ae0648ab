"""A tiny model and its data, the three commands on them, and what two runs must have in common."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("finetune", "run_glue_ofa", "export")
TIMED = {"seconds_per_step", "tokens_per_second"}
"""What a clock measured in metrics.jsonl."""
MEASURED = {"wall_seconds", "peak_memory_mb", "latency_ms", "speedup"}
"""What depends on the machine's load in results.json."""


@dataclass(frozen=True)
class Ended:
    """A run that has ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The last line it said."""
        return (self.err.splitlines() or [""])[-1]

    def check_one_line(self) -> None:
        """A user's error is one line, and no traceback."""
        assert self.code == 2, (self.code, self.err)
        assert self.err.count("error: ") == 1, self.err
        assert self.error.startswith("error: "), self.err
        assert "Traceback" not in self.err, self.err


class Server:
    """The process of ``server.py``."""

    def __init__(self, cache: Path, logs: Path, elsewhere: Path) -> None:
        """Let it write to ``cache``; ``elsewhere`` stands for all other places."""
        self.cache, self.logs, self.elsewhere, self.runs = cache, logs, elsewhere, 0
        places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CONFIG_HOME"), str(elsewhere))
        environment = {**os.environ, **places, "PYTHONPATH": str(ROOT)}
        environment["OFA_BERT_CACHE"] = str(cache)
        # The default, said aloud: else we ask for 1 GiB ahead, which hides a lack of memory.
        environment["GLIBC_TUNABLES"] = "glibc.malloc.top_pad=131072"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=elsewhere,
            env=environment,
        )

    def ask(self, **request: Any) -> Any:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, command: str, argv: list[str], **fault: Any) -> Run:
        """Begin a run, with what is to happen to it: see ``server.FAULTS``."""
        self.runs += 1
        log = self.logs / f"{self.runs}"
        pid = self.ask(run={"command": command, "argv": argv, "log": str(log), "fault": fault})
        return Run(self, pid, log)

    def run(self, command: str, argv: list[str], **fault: Any) -> Ended:
        """Begin a run and wait for it."""
        return self.start(command, argv, **fault).wait()

    def close(self) -> None:
        self.process.communicate()


@dataclass(frozen=True)
class Run:
    """A run that goes on."""

    server: Server
    pid: int
    log: Path

    def wait(self) -> Ended:
        code = self.server.ask(wait=self.pid)
        out, err = self.log.read_text(), Path(f"{self.log}.err").read_text()
        return Ended(code, out, err)

    def signal(self, signum: int = signal.SIGKILL) -> None:
        os.kill(self.pid, signum)

    def wait_until(self, there: Path) -> None:
        """Wait until the run has made a file or directory."""
        while not there.exists():
            stat = Path(f"/proc/{self.pid}/stat").read_text()
            assert stat.rpartition(")")[2].split()[0] != "Z", Path(f"{self.log}.err").read_text()
            time.sleep(0.002)


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing happened to."""

    seconds: float
    paths: tuple[Path, ...]
    """Every path it changed, in order."""

    def below(self, folder: Path) -> list[str]:
        """Give the paths below a folder, from there."""
        return [str(p.relative_to(folder)) for p in self.paths if p.is_relative_to(folder)]


@dataclass(frozen=True)
class Scene:
    """Where the runs take place."""

    folder: Path
    server: Server
    undisturbed: dict[str, Undisturbed] = field(default_factory=dict)

    def set_up(self, command: str) -> None:
        """Run a command without a fault, in the folder of its name."""
        notes, start = self.folder / "changes", time.perf_counter()
        ended = self.run(command, self.folder / command, {"note_changes": [str(notes)]})
        assert ended.code == 0, ended.err
        paths = tuple(Path(line) for line in notes.read_text().splitlines())
        self.undisturbed[command] = Undisturbed(time.perf_counter() - start, paths)

    def stop_after(self, command: str, output: Path, step: int) -> None:
        """Kill a run just after its checkpoint of a step stands."""
        changes = self.undisturbed[command].below(self.folder / command)
        manifest = changes.index(f"checkpoints/partial_step_{step}/manifest.json") + 1
        # After it comes the renaming, and then the next change.
        ended = self.run(command, output, {"kill_at": [str(output), manifest + 2]})
        assert (ended.code, (output / f"checkpoints/step_{step}").exists()) == (-9, True)

    def argv(self, command: str, output: Path, **changes: Any) -> list[str]:
        """Give a command's line; ``changes`` are its flags, None for one to leave out."""
        values = {"n_gpu": 0, "log_level": "warning"}
        if command == "export":
            values |= {
                "model_name_or_path": self.folder / "run_glue_ofa",
                "sub_model_output_dir": output / "dynamic",
                "static_sub_model": output / "static",
                "width_mult": ["1/2"],
                "max_seq_length": 12,
            }
        else:
            # 26 rows by 5 are 6 steps an epoch. A line comes every 2 steps and a checkpoint every
            # 3: what has gathered for a line must outlive a kill too.
            values |= {
                "model_name_or_path": self.folder / "base",
                "task_name": "own",
                "train_file": self.folder / "train.tsv",
                "dev_file": self.folder / "dev.tsv",
                "text_columns": ["sentence"],
                "label_column": "label",
                "max_seq_length": 12,
                "output_dir": output,
                "batch_size": 5,
                "learning_rate": 1e-3,
                "num_train_epochs": 2,
                "logging_steps": 2,
                "save_steps": 3,
            }
        if command == "run_glue_ofa":
            values |= {
                "model_name_or_path": self.folder / "finetune",
                "width_mult_list": ["1.0", "1/2"],
                "num_train_epochs": 1,
            }
        line = ["finetune"] if command == "finetune" else []
        for name, value in {**values, **changes}.items():
            if value is not None:
                parts = [] if value is True else value if isinstance(value, list) else [value]
                line += [f"--{name}", *map(str, parts)]
        return line

    def run(self, command: str, output: Path, fault: Any = None, **changes: Any) -> Ended:
        """Run a command to its end."""
        return self.server.run(command, self.argv(command, output, **changes), **(fault or {}))

    def go_on(self, command: str, output: Path) -> Ended:
        """Do what a user does after a run was cut off: resume, or begin again what had not begun.

        A run that had finished just then has nothing to resume.
        """
        if command == "export" or not (output / "train_config.yaml").exists():
            return self.run(command, output)
        ended = self.run(command, output, resume=True)
        if "holds a finished run" in ended.err:
            return Ended(0, ended.out, ended.err)
        return ended

    def differences(self, command: str, output: Path) -> list[str]:
        """Name what differs from the run that nothing happened to."""
        found, expected = outcome(output), outcome(self.folder / command)
        return [
            name
            for name in sorted(found.keys() | expected.keys())
            if found.get(name) != expected.get(name)
        ]


def outcome(folder: Path) -> dict[str, Any]:
    """Give every file below a folder: its bytes, without what a clock or the load decided."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir():
            found[name] = "a directory"
        elif path.name == "metrics.jsonl":
            found[name] = [
                without(json.loads(line), TIMED) for line in path.read_text().splitlines()
            ]
        elif path.name in ("results.json", "run.json"):
            found[name] = without(json.loads(path.read_text()), MEASURED)
        elif path.name == "train_config.yaml":
            found[name] = without(path.read_text(), set())
        else:
            found[name] = path.read_bytes()
    return found


def without(value: Any, names: set[str]) -> Any:
    """Leave out entries, at any depth, and where the run was."""
    paths = {"output_dir", "resume"}
    if isinstance(value, str):
        return [line for line in value.splitlines() if line.split(":")[0] not in paths]
    if isinstance(value, list):
        return [without(v, names) if isinstance(v, dict) else v for v in value]
    return {
        name: without(v, names) if isinstance(v, dict | list) else v
        for name, v in value.items()
        if name not in names | paths
    }
