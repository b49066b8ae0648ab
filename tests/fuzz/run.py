"""Fuzz readers with atheris, one after another; stops at the first that breaks.

    python -m tests.fuzz.run --seconds 600            all of them, ten minutes each
    python -m tests.fuzz.run --readers tsv yaml

What libFuzzer finds worth keeping goes to ``out/fuzz/<reader>``, and an input that breaks a reader
to ``out/fuzz/<reader>-crash-...``: add it to ``tests/fuzz/corpus/<reader>`` with the repair.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path("out/fuzz")
MEMORY_MB, SECONDS_OF_ONE, LONGEST = 3072, 120, 65536
"""What one input may take. paddle itself holds 500 MB of the memory, and instrumented code on a
busy machine takes a hundred times as long."""


def main() -> int:
    """Run each reader in a process of its own."""
    readers = sorted(path.name for path in CORPUS.iterdir())
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for each reader")
    parser.add_argument("--readers", nargs="+", default=readers, choices=readers)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        fuzz(args.readers[0], args.seconds)
    for reader in args.readers:
        print(f"{reader}: {args.seconds} s", flush=True)
        command = [sys.executable, "-m", "tests.fuzz.run", "--here", "--readers", reader]
        run = subprocess.run([*command, "--seconds", str(args.seconds)], check=False)
        if run.returncode != 0:
            print(f"{reader} breaks: see {FOUND}/{reader}-*", flush=True)
            return 1
    return 0


def fuzz(reader: str, seconds: int) -> None:
    """Hand one reader to libFuzzer, which ends the process."""
    import logging

    import atheris

    logging.disable()
    with atheris.instrument_imports(include=["ofa_bert", "yaml", "json", "pickle"]):
        from tests.fuzz.readers import read_safely

    folder = FOUND / reader
    folder.mkdir(parents=True, exist_ok=True)

    def one(data: bytes) -> None:
        read_safely(reader, data)

    options = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={SECONDS_OF_ONE}",
        f"-max_len={LONGEST}",
        f"-artifact_prefix={FOUND}/{reader}-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder), str(CORPUS / reader)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
