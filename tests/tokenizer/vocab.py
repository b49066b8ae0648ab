"""A vocabulary of twelve tokens, and what is read off what was encoded with it."""

from __future__ import annotations

VOCAB = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "un",
    "##aff",
    "##able",
    "we",
    "£",
    "中",
    "W",
]


def write_vocab(folder, tokens=VOCAB, end="\n"):
    (folder / "vocab.txt").write_bytes("".join(token + end for token in tokens).encode())
    return folder


def ids_of(encoded):
    return [list(row) for row in encoded.input_ids]


def types_of(encoded):
    return [list(row) for row in encoded.token_type_ids]
