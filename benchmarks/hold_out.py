"""Make a task's directory whose development set is held out of its training rows.

Settings are to be chosen on it, so that no choice is made on the real development set. SST-2's
training rows are phrases of common sentences: the rows held out are long, and share no longer
stretch of words with the rows trained on. RTE has several rows for one first text: they are
trained on together or held out together.

    python benchmarks/hold_out.py ../shared/data/glue/SST-2 out/held_out/SST-2
    python benchmarks/hold_out.py ../shared/data/glue/RTE out/held_out/RTE
"""

import argparse
import random
from collections import Counter
from pathlib import Path

RTE_HELD_OUT = 490
TRAINED, HELD_OUT = 12_000, 3_000
SHORTEST = 12
"""Words of a row held out, about a sentence; also of a stretch no trained row may share with it."""
SHARED_PHRASE = 4
"""A trained row of this many words or more may not stand within a row held out."""


def main() -> None:
    """Read a task's training rows and write the two files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    header, *rows = (options.source / "train.tsv").read_text("utf-8").splitlines()
    split = split_pairs if "sentence2" in header.split("\t") else split_phrases
    trained, held_out = split(rows, random.Random(0))
    options.target.mkdir(parents=True, exist_ok=True)
    for name, kept in [("train.tsv", trained), ("dev.tsv", held_out)]:
        (options.target / name).write_text("\n".join([header, *kept]) + "\n", "utf-8")
        print(f"{name}: {len(kept)} rows")


def split_pairs(rows: list[str], generator: random.Random) -> tuple[list[str], list[str]]:
    """Hold out rows of RTE, all those of a first text or none."""
    counts = Counter(map(first_text, rows))
    texts = sorted(counts)
    generator.shuffle(texts)
    held_out: set[str] = set()
    while sum(counts[text] for text in held_out) < RTE_HELD_OUT:
        held_out.add(texts.pop())
    return (
        [row for row in rows if first_text(row) not in held_out],
        [row for row in rows if first_text(row) in held_out],
    )


def first_text(row: str) -> str:
    """Give the first text of a row of RTE."""
    return row.split("\t")[1]


def split_phrases(rows: list[str], generator: random.Random) -> tuple[list[str], list[str]]:
    """Train on the first rows of SST-2; hold out long ones of the others that are new."""
    trained, others = rows[:TRAINED], rows[TRAINED:]
    known = stretches(trained)
    held_out = [row for row in others if is_new(words_of(row), *known)]
    generator.shuffle(held_out)
    return trained, held_out[:HELD_OUT]


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
