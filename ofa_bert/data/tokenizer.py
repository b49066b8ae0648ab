"""WordPiece: texts to the token ids of PaddleNLP's BertTokenizer, in Rust threads."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from ofa_bert.checkpoint.files import replacing
from ofa_bert.checkpoint.hub import fetch_vocab, is_hub_name
from ofa_bert.data.added_tokens import (
    ADDED_FILE,
    CONFIG_FILE,
    MAX_VOCAB_SIZE,
    SPECIAL_FILE,
    add_tokens,
    as_written,
    check_added_tokens,
    no_token,
    parse_added_tokens,
    read_added_tokens,
    read_special_tokens,
    vocab_of,
)
from ofa_bert.data.ragged import Ragged
from ofa_bert.data.tokenizer_files import (
    SINGLES,
    TOKENIZER_FILE,
    VOCAB_FILE,
    follow_config,
    parse_options,
    read_backend,
    read_config,
    read_vocab,
)
from ofa_bert.errors import InputError

logger = logging.getLogger(__name__)

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
NEEDED = (PAD, UNK, CLS, SEP)
SPECIAL = (*NEEDED, MASK)


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
            InputError: if the vocabulary lacks a special token, or an added token cannot be.
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
        check_added_tokens(backend)
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
        added_tokens: Sequence[tuple[int, AddedToken]] = (),
    ) -> Tokenizer:
        """Make the tokenizer of a WordPiece vocabulary.

        Args:
            tokens: by id; of equal ones the last counts, an empty one is an id without a token.
            do_lower_case: whether texts are lower-cased first.
            strip_accents: whether accents are removed first; None: as ``do_lower_case``.
            tokenize_chinese_chars: whether each Chinese character is a word.
            added_tokens: texts that are one token wherever they stand, with their ids: of the
                vocabulary, or following it without a gap.

        Raises:
            InputError: if a special token is missing, or an added token cannot have its id.
        """
        vocab = vocab_of(tokens, added_tokens)
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
        backend.add_special_tokens([token for token in SPECIAL if token in vocab])
        add_tokens(backend, added_tokens, SPECIAL)
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
        # An id without a token still takes its line, or all after it would move; one of a line end
        # must not take two.
        lines = [no_token(index) for index in range(self.vocab_size)]
        for token, index in self.vocab.items():
            if not {"\n", "\r"} & set(token):
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
        tokens = self._state()["added_tokens"]
        if added := {t.pop("id"): t for t in tokens if t["content"] not in SPECIAL}:
            config["added_tokens_decoder"] = added
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
        return self._state()["normalizer"] or {}

    def _state(self) -> dict[str, Any]:
        return json.loads(self._backend.to_str())


def load_tokenizer(directory: str | Path) -> Tokenizer:
    """Read a tokenizer from a directory: tokenizer.json, or else vocab.txt; or by its hub name.

    ``do_lower_case``, ``strip_accents`` and ``tokenize_chinese_chars`` are those of
    tokenizer_config.json where it says them; a warning says where tokenizer.json differs. With
    vocab.txt texts are lower-cased by default, and the log says so of a hub name without that file;
    the tokens of added_tokens.json and of the config's ``added_tokens_decoder`` follow the
    vocabulary, and those that special_tokens_map.json names as additional ones are found as they
    are written alone. Either way a symbol such as ``£`` is a word of its own, as in PaddleNLP.

    Raises:
        InputError: if neither file is there, one is broken or no WordPiece, or a special token is
            missing.
    """
    if not Path(directory).exists() and is_hub_name(str(directory)):
        return _from_hub(str(directory))
    directory = Path(directory)
    config, where = read_config(directory / CONFIG_FILE), str(directory / CONFIG_FILE)
    options = parse_options(config, where)
    if (directory / TOKENIZER_FILE).is_file():
        path = directory / TOKENIZER_FILE
        return Tokenizer(follow_config(read_backend(path), options, path))
    if not (directory / VOCAB_FILE).is_file():
        raise InputError(
            f"tokenizer directory must hold {TOKENIZER_FILE} or {VOCAB_FILE}; got {directory}, "
            "which holds neither; copy the file the model was trained with there"
        )
    added = [*parse_added_tokens(config, where), *read_added_tokens(directory / ADDED_FILE)]
    tokens = read_vocab(directory / VOCAB_FILE)
    added = as_written(added, tokens, read_special_tokens(directory / SPECIAL_FILE))
    return Tokenizer.from_vocab(tokens, **options, added_tokens=added)


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


def _from_hub(name: str) -> Tokenizer:
    vocab, values = fetch_vocab(name)
    if values is None:
        logger.warning("%s has no %s: texts are lower-cased for it", name, CONFIG_FILE)
    values, where = values or {}, f"{CONFIG_FILE} of {name}"
    added = list(parse_added_tokens(values, where))
    options = parse_options(values, where)
    return Tokenizer.from_vocab(read_vocab(vocab), **options, added_tokens=added)
