"""WordPiece: texts to the token ids of PaddleNLP's BertTokenizer, in Rust threads."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from ofa_bert.checkpoint.files import parse_json, read_json, read_small, reason, replacing
from ofa_bert.checkpoint.hub import fetch_vocab, is_hub_name
from ofa_bert.data.ragged import Ragged
from ofa_bert.errors import InputError
from ofa_bert.safe_text import short

logger = logging.getLogger(__name__)

VOCAB_FILE = "vocab.txt"
TOKENIZER_FILE = "tokenizer.json"
CHARSMAP = "precompiled_charsmap"
CONFIG_FILE = "tokenizer_config.json"

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
NEEDED = (PAD, UNK, CLS, SEP)

# PaddleNLP makes a word of each of these: punctuation, symbols, eight single characters, and the
# ideographs its range of CJK extension E leaves out. The Rust library's BertPreTokenizer leaves
# most of them inside words, and its table of punctuation is of an older Unicode.
SINGLES = "[\\p{P}\\p{S}\u00b2\u00b5\u00ba\u00d8\u014b\u01b1\u3007\U0002b820-\U0002b91f]"


MAX_VOCAB_SIZE = 1 << 22
"""A saved vocabulary has a line for each id, whether or not it has a token."""
MAX_WORD_CHARS = 1000
"""WordPiece takes time quadratic in the length of a word; longer ones are unknown."""
MAX_TOKENIZER_BYTES = 64 << 20


@dataclass(frozen=True)
class Encoded:
    """Token ids of some texts, each of its own length."""

    input_ids: Ragged
    """int32 rows ``[length]``: ``[CLS] text [SEP]``, or ``[CLS] text [SEP] pair [SEP]``."""
    token_type_ids: Ragged
    """int32 rows ``[length]``: 1 for the pair and the ``[SEP]`` after it, else 0."""


class Tokenizer:
    """Turns texts into token ids. Make one with ``load_tokenizer`` or ``from_vocab``."""

    def __init__(self, backend: Backend) -> None:
        """Take over a WordPiece tokenizer; truncation and padding it may hold are dropped.

        Raises:
            InputError: if the vocabulary lacks a special token.
        """
        missing = [token for token in NEEDED if backend.token_to_id(token) is None]
        # An added token of that name is none for the model, which fails at the first odd word.
        words = backend.get_vocab(with_added_tokens=False)
        if UNK not in missing and (backend.model.unk_token != UNK or UNK not in words):
            missing.append(UNK)
        if missing:
            raise InputError(
                f"vocabulary must hold {', '.join(NEEDED)}; got none of {', '.join(missing)}; "
                f"use the {VOCAB_FILE} the model was trained with"
            )
        largest = max(backend.get_vocab(with_added_tokens=True).values())
        if largest >= MAX_VOCAB_SIZE:
            raise InputError(f"vocabulary must number tokens below {MAX_VOCAB_SIZE}; got {largest}")
        backend.no_truncation()
        backend.no_padding()
        if isinstance(backend.pre_tokenizer, pre_tokenizers.BertPreTokenizer):
            backend.pre_tokenizer = _paddlenlp_words()
        self._backend = backend
        self._cls, self._sep = backend.token_to_id(CLS), backend.token_to_id(SEP)

    @classmethod
    def from_vocab(
        cls,
        tokens: Sequence[str],
        *,
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
    ) -> Tokenizer:
        """Make the tokenizer of a WordPiece vocabulary.

        Args:
            tokens: by id; of equal ones the last counts, an empty one is an id without a token.
            do_lower_case: whether texts are lower-cased first.
            strip_accents: whether accents are removed first; None: as ``do_lower_case``.
            tokenize_chinese_chars: whether each Chinese character is a word.

        Raises:
            InputError: if a special token is missing.
        """
        vocab = {token: index for index, token in enumerate(tokens) if token}
        backend = Backend(models.WordPiece(vocab, unk_token=UNK, max_input_chars_per_word=100))
        backend.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=tokenize_chinese_chars,
            strip_accents=strip_accents,
            lowercase=do_lower_case,
        )
        backend.pre_tokenizer = _paddlenlp_words()
        backend.decoder = decoders.WordPiece()
        if CLS in vocab and SEP in vocab:
            # encode() does this itself; other readers of the saved tokenizer.json need it.
            backend.post_processor = processors.BertProcessing((SEP, vocab[SEP]), (CLS, vocab[CLS]))
        backend.add_special_tokens([token for token in (*NEEDED, MASK) if token in vocab])
        return cls(backend)

    def encode(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None, max_seq_length: int
    ) -> Encoded:
        """Turn texts, or pairs of texts, into token ids.

        A text is cut at its end; of a pair the longer one loses a token first, and of two equally
        long ones the second.

        Args:
            texts: any number.
            text_pairs: as many, or None.
            max_seq_length: most tokens of a row, special tokens included; at least 3.
        """
        first = self._word_pieces(texts)
        second = None if text_pairs is None else self._word_pieces(text_pairs)
        rows, first_lengths = [], []
        for i, ids in enumerate(first):
            if second is None:
                row = [self._cls, *ids[: max_seq_length - 2], self._sep]
                first_lengths.append(len(row))
            else:
                keep, keep_pair = longest_first(len(ids), len(second[i]), max_seq_length - 3)
                pair = second[i][:keep_pair]
                row = [self._cls, *ids[:keep], self._sep, *pair, self._sep]
                first_lengths.append(keep + 2)
            rows.append(row)
        return _ragged(rows, first_lengths)

    def save(self, directory: str | Path) -> None:
        """Write vocab.txt, tokenizer.json and tokenizer_config.json into a directory."""
        directory = Path(directory)
        # An id without a token still takes its line, or all after it would move.
        lines = [f"[no token {index}]" for index in range(self.vocab_size)]
        for token, index in self.vocab.items():
            lines[index] = token
        config = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.do_lower_case,
            "strip_accents": self._normalizer().get("strip_accents"),
            "tokenize_chinese_chars": self._normalizer().get("handle_chinese_chars", True),
            "pad_token": PAD,
            "unk_token": UNK,
            "cls_token": CLS,
            "sep_token": SEP,
            "mask_token": MASK,
        }
        for name, content in [
            (VOCAB_FILE, "".join(f"{line}\n" for line in lines)),
            (TOKENIZER_FILE, self._backend.to_str()),
            (CONFIG_FILE, json.dumps(config, indent=2) + "\n"),
        ]:
            with replacing(directory / name) as temporary:
                temporary.write_bytes(content.encode())

    @property
    def vocab(self) -> dict[str, int]:
        """Id of each token."""
        return self._backend.get_vocab(with_added_tokens=True)

    @property
    def vocab_size(self) -> int:
        """One more than the largest id: the rows a word embedding needs."""
        return max(self.vocab.values()) + 1

    @property
    def pad_token_id(self) -> int:
        """Id of padding."""
        return self._backend.token_to_id(PAD)

    @property
    def unk_token_id(self) -> int:
        """Id of what the vocabulary does not know."""
        return self._backend.token_to_id(UNK)

    @property
    def frame_ids(self) -> tuple[int, int]:
        """Ids of the tokens that begin and end a text."""
        return self._cls, self._sep

    @property
    def do_lower_case(self) -> bool:
        """Whether texts are lower-cased."""
        return bool(self._normalizer().get("lowercase", False))

    @property
    def fingerprint(self) -> str:
        """All that decides which ids a text gets, as JSON."""
        return self._backend.to_str()

    def _word_pieces(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _normalizer(self) -> dict[str, Any]:
        return json.loads(self._backend.to_str())["normalizer"] or {}


def load_tokenizer(directory: str | Path) -> Tokenizer:
    """Read a tokenizer from a directory: tokenizer.json, or else vocab.txt; or by its hub name.

    With vocab.txt, ``do_lower_case``, ``strip_accents`` and ``tokenize_chinese_chars`` are those of
    tokenizer_config.json where it says them; texts are lower-cased by default, and the log
    says so of a hub name without that file. Either way a symbol such as ``£`` is a word of its own,
    as in PaddleNLP.

    Raises:
        InputError: if neither file is there, one is broken or no WordPiece, or a special token is
            missing.
    """
    if not Path(directory).exists() and is_hub_name(str(directory)):
        return _from_hub(str(directory))
    directory = Path(directory)
    if (directory / TOKENIZER_FILE).is_file():
        return Tokenizer(_read_backend(directory / TOKENIZER_FILE))
    if not (directory / VOCAB_FILE).is_file():
        raise InputError(
            f"tokenizer directory must hold {TOKENIZER_FILE} or {VOCAB_FILE}; got {directory}, "
            "which holds neither; copy the file the model was trained with there"
        )
    return Tokenizer.from_vocab(
        _read_vocab(directory / VOCAB_FILE), **_read_options(directory / CONFIG_FILE)
    )


def longest_first(first: int, second: int, budget: int) -> tuple[int, int]:
    """Say how many tokens a pair keeps when the longer one loses one at a time.

    Of two equally long ones the second loses.

    Args:
        first: tokens of the first text.
        second: tokens of the second.
        budget: tokens both may keep together.
    """
    if first + second <= budget:
        return first, second
    if 2 * min(first, second) > budget:
        return budget - budget // 2, budget // 2
    return (budget - second, second) if first > second else (first, budget - first)


def _paddlenlp_words() -> pre_tokenizers.PreTokenizer:
    # The pattern first: once over a text is faster than once over each of its words.
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SINGLES), behavior="isolated"),
            pre_tokenizers.WhitespaceSplit(),
        ]
    )


def _ragged(rows: list[list[int]], first_lengths: list[int]) -> Encoded:
    offsets = np.cumsum([0, *map(len, rows)], dtype="int64")
    input_ids = np.fromiter(chain.from_iterable(rows), "int32", count=offsets[-1])
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
    is_pair = place >= np.repeat(np.array(first_lengths, "int64"), np.diff(offsets))
    return Encoded(Ragged(input_ids, offsets), Ragged(is_pair.astype("int32"), offsets))


def _read_backend(path: Path) -> Backend:
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
        InputError: if there is one, or words may be of any length.
    """
    parts = [values.get(name) for name in ("normalizer", "pre_tokenizer", "post_processor")]
    parts += [values.get("decoder"), *_list(values.get("added_tokens"))]
    while parts:
        part = parts.pop()
        parts += part.values() if isinstance(part, dict) else _list(part)
        if isinstance(part, dict) and (part.get("Regex", SINGLES) != SINGLES or CHARSMAP in part):
            pattern = part.get("Regex", part.get(CHARSMAP))
            raise InputError(f"{path} must hold no pattern but ours; got {short(pattern)}")
    model = values.get("model")
    longest = model.get("max_input_chars_per_word", 0) if isinstance(model, dict) else 0
    if isinstance(longest, int) and longest > MAX_WORD_CHARS:
        raise InputError(f"{path} must take words of at most {MAX_WORD_CHARS}; got {longest}")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _from_hub(name: str) -> Tokenizer:
    vocab, values = fetch_vocab(name)
    if values is None:
        logger.warning("%s has no %s: texts are lower-cased for it", name, CONFIG_FILE)
    options = _options(values or {}, f"{CONFIG_FILE} of {name}")
    return Tokenizer.from_vocab(_read_vocab(vocab), **options)


def _read_options(path: Path) -> dict[str, Any]:
    return _options(read_json(path, "tokenizer config"), str(path)) if path.is_file() else {}


def _options(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    names = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
    options = {name: values[name] for name in names if name in values}
    for name, value in options.items():
        if not isinstance(value, bool) and not (name == "strip_accents" and value is None):
            raise InputError(f"{name} in {where} must be true or false; got {short(value)}")
    return options


def _read_vocab(path: Path) -> list[str]:
    return _read_text(path).removesuffix("\n").split("\n")


def _read_text(path: Path) -> str:
    # Line ends become \n and nothing else does: U+2028 may be a token.
    return read_small(path, "tokenizer file", most_bytes=MAX_TOKENIZER_BYTES)
