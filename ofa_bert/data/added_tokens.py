"""Tokens added to a vocabulary: where they are written, and their place in a tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from ofa_bert.checkpoint.files import read_json
from ofa_bert.errors import InputError
from ofa_bert.rules import is_size
from ofa_bert.safe_text import short

CONFIG_FILE = "tokenizer_config.json"
ADDED_FILE = "added_tokens.json"
SPECIAL_FILE = "special_tokens_map.json"

MAX_VOCAB_SIZE = 1 << 22
"""A saved vocabulary has a line for each id, whether or not it has a token."""
MAX_ADDED_CHARS = 200
"""Building the search for one of a hundred thousand takes minutes."""
TOKEN_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def parse_added_tokens(values: Mapping[str, Any], where: str) -> Iterator[tuple[int, AddedToken]]:
    """Give the ``added_tokens_decoder`` of a tokenizer config: ids with their tokens.

    Raises:
        InputError: if it is not as Hugging Face and PaddleNLP write it.
    """
    table = values.get("added_tokens_decoder") or {}
    if not isinstance(table, dict):
        raise InputError(f"added_tokens_decoder in {where} must be an object; got {short(table)}")
    for key, entry in table.items():
        if not isinstance(entry, dict):
            raise InputError(f"added token in {where} must be an object; got {short(entry)}")
        index = int(key) if key.isdecimal() and len(key) < 10 else key
        flags = {name: entry[name] for name in TOKEN_FLAGS if isinstance(entry.get(name), bool)}
        yield _id(index, where), added_token(entry.get("content"), where, **flags)


def read_added_tokens(path: Path) -> Iterator[tuple[int, AddedToken]]:
    """Read an added_tokens.json, which has the id of each token; nothing where there is none.

    Raises:
        InputError: if it is broken.
    """
    table = read_json(path, "added tokens") if path.is_file() else {}
    for token, index in table.items():
        yield _id(index, str(path)), added_token(token, str(path))


def read_special_tokens(path: Path) -> frozenset[str]:
    """Read the ``additional_special_tokens`` of a special_tokens_map.json; none where it is not.

    Raises:
        InputError: if it is broken.
    """
    values = read_json(path, "special tokens") if path.is_file() else {}
    listed = values.get("additional_special_tokens") or []
    if not isinstance(listed, list):
        raise InputError(f"additional_special_tokens in {path} must be a list; got {short(listed)}")
    contents = (entry.get("content") if isinstance(entry, dict) else entry for entry in listed)
    return frozenset(added_token(content, str(path)).content for content in contents)


def as_written(
    added_tokens: Iterable[tuple[int, AddedToken]],
    tokens: Sequence[str],
    special: frozenset[str],
) -> list[tuple[int, AddedToken]]:
    """Let special tokens be found as they are written alone, and within words.

    So does PaddleNLP, whatever the flags say that it writes beside added ones.

    Args:
        added_tokens: with their ids.
        tokens: of the vocabulary, by id.
        special: tokens of either; other texts are passed over.

    Returns:
        The added tokens, and those of the vocabulary that are special.
    """
    named = {token: index for index, token in enumerate(tokens) if token in special}
    found = [(index, AddedToken(token, normalized=False)) for token, index in named.items()]
    for index, token in added_tokens:
        if token.content in special:
            flags = {name: getattr(token, name) for name in TOKEN_FLAGS}
            token = AddedToken(token.content, **{**flags, "normalized": False})
        found.append((index, token))
    return found


def vocab_of(
    tokens: Sequence[str], added_tokens: Iterable[tuple[int, AddedToken]]
) -> dict[str, int]:
    """Give each token its line as id, so that an added token can have the id it was trained with.

    The library numbers added tokens from the count of the vocabulary, which a blank line or a token
    that stands twice makes less than the lines. Such lines get names, as many as are needed.

    Args:
        tokens: by id; of equal ones the last counts, an empty one is an id without a token.
        added_tokens: with their ids.
    """
    vocab = {token: index for index, token in enumerate(tokens) if token}
    first = min((index for index, token in added_tokens if token.content not in vocab), default=0)
    if first > len(vocab):
        taken = set(vocab.values())
        free = (index for index in range(len(tokens)) if index not in taken)
        vocab |= {no_token(index): index for index in islice(free, first - len(vocab))}
    return vocab


def no_token(index: int) -> str:
    """Name an id without a token; never a word of a text, for a bracket is a word of its own."""
    return f"[no token {index}]"


def add_tokens(
    backend: Backend, added_tokens: Iterable[tuple[int, AddedToken]], special: Sequence[str]
) -> None:
    """Make texts tokens of their own in a tokenizer made from a vocabulary.

    Args:
        backend: changed.
        added_tokens: with their ids, in the vocabulary or following it.
        special: tokens of the vocabulary that are added already, as no other text is.

    Raises:
        InputError: if a token cannot have its id.
    """
    pairs = sorted(added_tokens, key=lambda pair: pair[0])
    new = [
        t for _, t in pairs if t.content not in special or backend.token_to_id(t.content) is None
    ]
    backend.add_tokens(new)  # all at once: each call takes as long as there are tokens
    for index, token in pairs:
        found = backend.token_to_id(token.content)
        if found != index:
            raise InputError(
                "added tokens must be in the vocabulary or follow it without a gap; "
                f"got id {index} for {short(token.content)}, which would be {found}; "
                f"check {ADDED_FILE} and {CONFIG_FILE}"
            )


def check_added_tokens(backend: Backend) -> None:
    """Refuse added tokens that are nothing once texts are normalised: the library fails on them.

    Raises:
        InputError: if there is one.
    """
    normalised = str if backend.normalizer is None else backend.normalizer.normalize_str
    for token in backend.get_added_tokens_decoder().values():
        if token.normalized and not normalised(token.content):
            raise InputError(
                "added tokens must be texts of which normalising leaves something; "
                f"got {short(token.content)}"
            )


def _id(index: object, where: str) -> int:
    if not is_size(index, 0, MAX_VOCAB_SIZE - 1):
        raise InputError(
            f"added token in {where} must have an id below {MAX_VOCAB_SIZE}; got {short(index)}"
        )
    assert isinstance(index, int), "is_size says so"
    return index


def added_token(token: object, where: str, **flags: bool) -> AddedToken:
    """Give a token with its flags.

    Raises:
        InputError: if it is no text, or too long a one.
    """
    try:
        if isinstance(token, str) and token.encode() and len(token) <= MAX_ADDED_CHARS:
            return AddedToken(token, **flags)
    except UnicodeEncodeError:
        pass
    raise InputError(
        f"added token in {where} must be a text of 1 to {MAX_ADDED_CHARS} characters; "
        f"got {short(token)}"
    )
