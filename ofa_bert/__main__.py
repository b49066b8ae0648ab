"""``python -m ofa_bert COMMAND ...``."""

import sys

from ofa_bert.cli import main
from ofa_bert.command import run_command

if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
