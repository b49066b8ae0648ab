"""``python -m ofa_bert COMMAND ...``, and ``ofa_bert COMMAND ...`` where it is installed."""

from typing import NoReturn

from ofa_bert.cli import main
from ofa_bert.command import run_script


def script() -> NoReturn:
    """Run the command that this process's arguments name."""
    run_script(main)


if __name__ == "__main__":
    script()
