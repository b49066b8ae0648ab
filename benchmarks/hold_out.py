"""Make a task's directory whose development set is held out of SST-2's training rows.

Settings are to be chosen on it, so that no choice is made on the real development set. SST-2's
training rows are phrases of common sentences: the rows held out are long, and share no longer
stretch of words with the rows trained on.

    python benchmarks/hold_out.py ../shared/data/glue/SST-2 out/held_out/SST-2
"""

import argparse
import random
from pathlib import Path

TRAINED, HELD_OUT = 12_000, 3_000
SHORTEST = 12
"""Words of a row held out, about a sentence; also of a stretch no trained row may share with it."""
SHARED_PHRASE = 4
"""A trained row of this many words or more may not stand within a row held out."""


def main() -> None:
    """Read SST-2's training rows and write the two files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    header, *rows = (options.source / "train.tsv").read_text("utf-8").splitlines()
    trained, others = rows[:TRAINED], rows[TRAINED:]
    known = stretches(trained)
    held_out = [row for row in others if is_new(words_of(row), *known)]
    random.Random(0).shuffle(held_out)
    options.target.mkdir(parents=True, exist_ok=True)
    for name, kept in [("train.tsv", trained), ("dev.tsv", held_out[:HELD_OUT])]:
        (options.target / name).write_text("\n".join([header, *kept]) + "\n", "utf-8")
        print(f"{name}: {len(kept)} rows")


def words_of(row: str) -> tuple[str, ...]:
    """Give the words of a row's sentence."""
    return tuple(row.rpartition("\t")[0].split())


def stretches(rows: list[str]) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
    """Give the rows that are phrases, and all their stretches of ``SHORTEST`` words."""
    phrases = {words for row in rows if len(words := words_of(row)) >= SHARED_PHRASE}
    return phrases, {part for words in phrases for part in parts_of(words, SHORTEST)}


def is_new(words: tuple[str, ...], phrases: set, long_parts: set) -> bool:
    """Whether a sentence is long, holds none of the phrases, and is part of none."""
    if len(words) < SHORTEST or any(part in long_parts for part in parts_of(words, SHORTEST)):
        return False
    lengths = range(SHARED_PHRASE, len(words) + 1)
    return not any(part in phrases for length in lengths for part in parts_of(words, length))


def parts_of(words: tuple[str, ...], length: int) -> list[tuple[str, ...]]:
    """Give every stretch of so many words."""
    return [words[start : start + length] for start in range(len(words) - length + 1)]


if __name__ == "__main__":
    main()
