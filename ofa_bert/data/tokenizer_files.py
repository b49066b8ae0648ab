"""The files of a tokenizer: tokenizer.json, vocab.txt, and what stands beside them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, models, normalizers
from tokenizers import Tokenizer as Backend

from ofa_bert.checkpoint.files import parse_json, read_json, read_small, reason
from ofa_bert.errors import InputError
from ofa_bert.rules import is_size
from ofa_bert.safe_text import short

logger = logging.getLogger(__name__)

VOCAB_FILE = "vocab.txt"
TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
ADDED_FILE = "added_tokens.json"
CHARSMAP = "precompiled_charsmap"

# PaddleNLP makes a word of each of these: punctuation, symbols, eight single characters, and the
# ideographs its range of CJK extension E leaves out. The Rust library's BertPreTokenizer leaves
# most of them inside words, and its table of punctuation is of an older Unicode.
SINGLES = "[\\p{P}\\p{S}\u00b2\u00b5\u00ba\u00d8\u014b\u01b1\u3007\U0002b820-\U0002b91f]"

MAX_VOCAB_SIZE = 1 << 22
"""A saved vocabulary has a line for each id, whether or not it has a token."""
MAX_WORD_CHARS = 1000
"""WordPiece takes time quadratic in the length of a word; longer ones are unknown."""
MAX_TOKENIZER_BYTES = 64 << 20
MAX_ADDED_CHARS = 200
"""Building the search for one of a hundred thousand takes minutes."""
NORMALIZER_NAMES = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
"""What the options of a tokenizer config are called in tokenizer.json."""
TOKEN_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def read_backend(path: Path) -> Backend:
    """Read a tokenizer.json.

    Raises:
        InputError: if it is broken, no WordPiece, or could take endless time.
    """
    text = _read_text(path)
    _check_patterns(parse_json(text, f"tokenizer {path}"), path)
    try:
        backend = Backend.from_str(text)
    # The Rust side raises a bare Exception, and where it panics something that is not even that.
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise InputError(
            f"{path} must be a tokenizer; got a broken file ({reason(error)})"
        ) from None
    if not isinstance(backend.model, models.WordPiece):
        kind = type(backend.model).__name__
        raise InputError(f"{path} must hold a WordPiece tokenizer; got {kind}")
    return backend


def _check_patterns(values: dict[str, Any], path: Path) -> None:
    """Refuse patterns that are not ours: some take time exponential in the text they search.

    Raises:
        InputError: if there is one, or words or added tokens may be of any length.
    """
    parts = [values.get(name) for name in ("normalizer", "pre_tokenizer", "post_processor")]
    parts += [values.get("decoder"), *_list(values.get("added_tokens"))]
    while parts:
        part = parts.pop()
        parts += part.values() if isinstance(part, dict) else _list(part)
        if isinstance(part, dict) and (part.get("Regex", SINGLES) != SINGLES or CHARSMAP in part):
            pattern = part.get("Regex", part.get(CHARSMAP))
            raise InputError(f"{path} must hold no pattern but ours; got {short(pattern)}")
    for token in _list(values.get("added_tokens")):
        if isinstance(token, dict):
            _added(token.get("content"), str(path))
    model = values.get("model")
    longest = model.get("max_input_chars_per_word", 0) if isinstance(model, dict) else 0
    if isinstance(longest, int) and longest > MAX_WORD_CHARS:
        raise InputError(f"{path} must take words of at most {MAX_WORD_CHARS}; got {longest}")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def follow_config(backend: Backend, options: Mapping[str, Any], path: Path) -> Backend:
    """Give a tokenizer.json what the config beside it says otherwise, as BertTokenizerFast does.

    Args:
        backend: as read; one without a ``BertNormalizer`` is left as it is.
        options: of the config, where it says them.
        path: of the tokenizer.json, for the log.
    """
    found = backend.normalizer
    if not isinstance(found, normalizers.BertNormalizer):
        return backend
    values = {name: getattr(found, theirs) for name, theirs in NORMALIZER_NAMES.items()}
    changed = {name: value for name, value in options.items() if values[name] != value}
    if not changed:
        return backend
    logger.warning(
        "%s: taking %s from %s beside it",
        path,
        ", ".join(f"{name} {value} (not {values[name]})" for name, value in changed.items()),
        CONFIG_FILE,
    )
    values.update(changed)
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=found.clean_text,
        **{theirs: values[name] for name, theirs in NORMALIZER_NAMES.items()},
    )
    return Backend.from_str(backend.to_str())  # added tokens are normalised as they are read


def read_config(path: Path) -> dict[str, Any]:
    """Read a tokenizer_config.json; empty where there is none."""
    return read_json(path, "tokenizer config") if path.is_file() else {}


def parse_options(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Give the options of a tokenizer config that change texts, where it says them.

    Raises:
        InputError: if one is neither true nor false.
    """
    options = {name: values[name] for name in NORMALIZER_NAMES if name in values}
    for name, value in options.items():
        if not isinstance(value, bool) and not (name == "strip_accents" and value is None):
            raise InputError(f"{name} in {where} must be true or false; got {short(value)}")
    return options


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
        yield _id(index, where), _added(entry.get("content"), where, **flags)


def read_added_tokens(path: Path) -> Iterator[tuple[int, AddedToken]]:
    """Read an added_tokens.json, which has the id of each token; nothing where there is none.

    Raises:
        InputError: if it is broken.
    """
    table = read_json(path, "added tokens") if path.is_file() else {}
    for token, index in table.items():
        yield _id(index, str(path)), _added(token, str(path))


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


def _added(token: object, where: str, **flags: bool) -> AddedToken:
    try:
        if isinstance(token, str) and token.encode() and len(token) <= MAX_ADDED_CHARS:
            return AddedToken(token, **flags)
    except UnicodeEncodeError:
        pass
    raise InputError(
        f"added token in {where} must be a text of 1 to {MAX_ADDED_CHARS} characters; "
        f"got {short(token)}"
    )


def read_vocab(path: Path) -> list[str]:
    """Read the tokens of a vocab.txt by id."""
    return _read_text(path).removesuffix("\n").split("\n")


def _read_text(path: Path) -> str:
    # Line ends become \n and nothing else does: U+2028 may be a token.
    return read_small(path, "tokenizer file", most_bytes=MAX_TOKENIZER_BYTES)
