"""The files of a tokenizer: tokenizer.json, vocab.txt, and what stands beside them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers

from ofa_bert.checkpoint.files import parse_json, read_json, read_small, reason
from ofa_bert.data.added_tokens import CONFIG_FILE, added_token
from ofa_bert.errors import InputError
from ofa_bert.safe_text import short

logger = logging.getLogger(__name__)

VOCAB_FILE = "vocab.txt"
TOKENIZER_FILE = "tokenizer.json"
CHARSMAP = "precompiled_charsmap"

# PaddleNLP makes a word of each of these: punctuation, symbols, eight single characters, and the
# ideographs its range of CJK extension E leaves out. The Rust library's BertPreTokenizer leaves
# most of them inside words, and its table of punctuation is of an older Unicode.
SINGLES = "[\\p{P}\\p{S}\u00b2\u00b5\u00ba\u00d8\u014b\u01b1\u3007\U0002b820-\U0002b91f]"

MAX_WORD_CHARS = 1000
"""WordPiece takes time quadratic in the length of a word; longer ones are unknown."""
MAX_TOKENIZER_BYTES = 64 << 20
NORMALIZER_NAMES = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
"""What the options of a tokenizer config are called in tokenizer.json."""


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
            added_token(token.get("content"), str(path))
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


def read_vocab(path: Path) -> list[str]:
    """Read the tokens of a vocab.txt by id."""
    return _read_text(path).removesuffix("\n").split("\n")


def _read_text(path: Path) -> str:
    # Line ends become \n and nothing else does: U+2028 may be a token.
    return read_small(path, "tokenizer file", most_bytes=MAX_TOKENIZER_BYTES)
