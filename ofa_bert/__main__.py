"""``python -m ofa_bert COMMAND ...``."""

from ofa_bert.cli import main
from ofa_bert.command import run_script

if __name__ == "__main__":
    run_script(main)
