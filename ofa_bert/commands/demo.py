"""Run the whole path on a small generated data set: no network, no file from elsewhere.

Generated film reviews, a small BERT trained on them from nothing, a supernet made of it, one width
cut out as a Paddle Inference graph, and a few sentences labelled with that graph.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ofa_bert as ofa
from ofa_bert import runtime
from ofa_bert.arguments import parse_args, resolved
from ofa_bert.checkpoint.files import read_json, reason, write_json
from ofa_bert.command import set_up_logging
from ofa_bert.config import setting
from ofa_bert.data.demo import (
    MAX_SEQ_LENGTH,
    SHOWN,
    VOCAB_SIZE,
    demo_model_config,
    train_vocabulary,
    write_demo_data,
)
from ofa_bert.errors import InputError
from ofa_bert.rules import check_path, require

MARK = "demo.json"
DATA, BASE, TEACHER, SUPERNET, DYNAMIC, STATIC = (
    "data",
    "base",
    "teacher",
    "supernet",
    "dynamic",
    "static",
)
MADE_BY_A_DEMO = (DATA, BASE, TEACHER, SUPERNET, DYNAMIC, STATIC, MARK)

WIDTHS = ("1.0", "5/6", "2/3", "1/2")
EXPORTED_WIDTH = "1/2"
# From nothing, 1e-3 stays at chance for hundreds of steps.
TEACHER_TRAINING = {"learning_rate": 5e-4, "num_train_epochs": 5}
SUPERNET_TRAINING = {"learning_rate": 3e-4, "num_train_epochs": 1.5}

ABOUT_THE_TABLE = (
    "Most of a forward of a model this small is fixed cost, so narrower is little faster; "
    "docs/results.md has models of real size."
)


@dataclass(frozen=True)
class DemoConfig:
    """Where the demo writes, and how long it trains."""

    output_dir: str = setting(help="directory for all that the demo makes")
    overwrite_output_dir: bool = setting(False, help="replace a demo that stands there")
    max_steps: int = setting(
        -1, help="stop each of the two trainings after so many optimizer steps; -1: never"
    )
    seed: int = setting(42, help="seed of the sentences, the fresh weights and both trainings")
    log_level: str = setting(
        "info", help="how much to say; debug adds tracebacks", choices=("debug", "info", "warning")
    )

    def __post_init__(self) -> None:
        check_path("output_dir", self.output_dir)
        require(
            self.max_steps == -1 or self.max_steps >= 1,
            f"max_steps must be at least 1, or -1 for no limit; got {self.max_steps}",
        )
        require(self.seed >= 0, f"seed must not be negative; got {self.seed}")


def main(argv: Sequence[str]) -> int:
    """Read the command line and run the demo."""
    (config,) = parse_args("python -m ofa_bert demo", __doc__ or "", [DemoConfig], argv)
    set_up_logging(config.log_level)
    demo(config)
    return 0


def demo(config: DemoConfig) -> None:
    """Make data and an untrained model, call the three commands on them, and use the result."""
    run_start = time.perf_counter()
    environment = runtime.user_environment()  # each command chooses for itself
    commands = demo_commands(config)
    folder = Path(config.output_dir)
    prepare_folder(folder, config)
    write_base(folder, config.seed)
    for command in commands:
        run_aloud(command, environment)
    show_labels(folder / STATIC)
    say(f"\nDone in {time.perf_counter() - run_start:.0f} s, all in {folder}. {ABOUT_THE_TABLE}\n")
    say(results_table(folder / SUPERNET))


def demo_commands(config: DemoConfig) -> list[list[str]]:
    """Give the three commands as a user would type them.

    Raises:
        InputError: if one of the scripts is not installed.
    """
    folder = Path(config.output_dir)
    common = _flags(model_type="bert", n_gpu=0, log_level=config.log_level)
    task = _flags(task_name="SST-2", data_dir=folder / DATA, max_seq_length=MAX_SEQ_LENGTH)
    task += _flags(batch_size=32, weight_decay=0.01, warmup_ratio=0.1, logging_steps=25)
    task += _flags(save_steps=250, max_steps=config.max_steps, seed=config.seed)

    def source(name: str) -> list[str]:
        return [*common, *_flags(model_name_or_path=folder / name)]

    finetune = [*source(BASE), *task, *_flags(**TEACHER_TRAINING, output_dir=folder / TEACHER)]
    compress = [*source(TEACHER), *task, "--width_mult_list", *WIDTHS]
    compress += _flags(**SUPERNET_TRAINING, output_dir=folder / SUPERNET)
    export = [*source(SUPERNET), *_flags(width_mult=EXPORTED_WIDTH)]
    export += _flags(sub_model_output_dir=folder / DYNAMIC, static_sub_model=folder / STATIC)
    python = [sys.executable, "-u"]
    return [
        [*python, "-m", "ofa_bert", "finetune", *finetune],
        [*python, script_path("run_glue_ofa"), *compress],
        [*python, script_path("export_model"), *export],
    ]


def script_path(name: str) -> str:
    """Find a script that lies beside the package, in a checkout or installed.

    Raises:
        InputError: if it does not.
    """
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise InputError(
            f"{name}.py must lie where Python finds it; got nothing of that name; run the demo in "
            "the directory of the checkout, or install the package with pip"
        )
    return found.origin


def prepare_folder(folder: Path, config: DemoConfig) -> None:
    """Make the directory ready and mark it as a demo's, so that a later one may replace it.

    Raises:
        InputError: if something stands there that is not to be replaced.
    """
    try:
        _check_folder(folder, config.overwrite_output_dir)
        _remove_demo(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / MARK, resolved([config]))
        (folder / DATA).mkdir()
    except OSError as error:
        raise InputError(f"output_dir {folder} cannot be written: {reason(error)}") from None


def write_base(folder: Path, seed: int) -> None:
    """Write the sentences, and an untrained BERT with a vocabulary learned from them."""
    sentences = write_demo_data(folder / DATA, seed)
    vocabulary = train_vocabulary(sentences, VOCAB_SIZE)
    say(f"{len(sentences)} training sentences, {len(vocabulary)} word pieces, in {folder / DATA}")
    model = ofa.BertForSequenceClassification(demo_model_config(len(vocabulary)))
    from ofa_bert.nn.bert import init_weights  # paddle is imported and set up by now

    init_weights(model, seed)
    ofa.save_model(model, folder / BASE, ofa.Tokenizer.from_vocab(vocabulary))


def run_aloud(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Print a command and run it; what it says goes straight to the terminal.

    Raises:
        InputError: if it does not end with 0.
    """
    line = shlex.join(command)
    say(f"\n$ {line}")
    code = subprocess.run(command, env=environment, check=False).returncode
    if code != 0:
        raise InputError(f"the demo stops, because this command ended with code {code}: {line}")


def show_labels(static: Path) -> None:
    """Label a few sentences with the exported graph, in Paddle Inference."""
    say(f"\nWidth {EXPORTED_WIDTH} in Paddle Inference says (1 good, 0 bad):")
    for text, answer in zip(SHOWN, ofa.Predictor(static).predict(SHOWN), strict=True):
        say(f"  {answer.label} ({answer.score:.3f})  {text}")


def results_table(supernet: Path) -> str:
    """Lay out the widths of a finished run again, from its results.json."""
    rows = []
    for values in read_json(supernet / "results.json", "results")["widths"]:
        subnet = {name: tuple(sizes) for name, sizes in values["subnet"].items()}
        rows.append(ofa.ReportRow(**{**values, "subnet": ofa.Subnet(**subnet)}))
    return ofa.format_table(rows)


def say(text: str) -> None:
    """Print at once, in order with what the commands print."""
    print(text, flush=True)  # noqa: T201


def _flags(**values: object) -> list[str]:
    return [part for name, value in values.items() for part in (f"--{name}", str(value))]


def _check_folder(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"output_dir {folder} is a file; name a directory")
    is_demo = (folder / MARK).is_file()
    taken = [name for name in MADE_BY_A_DEMO if os.path.lexists(folder / name)]
    if taken and not is_demo:
        raise InputError(
            f"output_dir {folder} holds {taken[0]}, which no demo made; name another directory"
        )
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise InputError(
            f"output_dir {folder} holds {'a demo' if is_demo else 'other files'}; "
            f"pass --overwrite_output_dir to {'replace it' if is_demo else 'write beside them'}, "
            "or name another directory"
        )


def _remove_demo(folder: Path) -> None:
    """Remove what a demo makes, by name, the mark last."""
    for name in MADE_BY_A_DEMO:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
