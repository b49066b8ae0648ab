"""Which command is which module."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from ofa_bert.errors import InputError, nearest

COMMANDS = {
    "demo": "run the whole path on a small generated data set, without network",
    "doctor": "look whether this machine and installation are well, and say what to do",
    "evaluate": "score a model, or each width of a supernet, on a development set",
    "finetune": "fine-tune a BERT on a task: the teacher",
    "predict": "label lines of text with an exported static graph",
    "rerun": "run a training again from its results.json, and compare the weights",
}


def main(argv: Sequence[str]) -> int:
    """Run the command that ``argv`` begins with."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())  # noqa: T201
        return 0
    name, *rest = argv
    if name not in COMMANDS:
        raise InputError(f"unknown command {name!r}; {nearest(name, COMMANDS)}")
    return importlib.import_module(f"ofa_bert.commands.{name}").main(rest)


def usage() -> str:
    """List the commands."""
    lines = [f"  {name:10}{about}" for name, about in COMMANDS.items()]
    return "\n".join(
        [
            "usage: python -m ofa_bert COMMAND [--help | flags]",
            "",
            *lines,
            "",
            "To make a supernet and cut widths out of it: run_glue_ofa.py, export_model.py.",
        ]
    )
