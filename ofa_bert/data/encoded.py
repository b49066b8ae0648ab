"""Labelled texts as token ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ofa_bert.data.cache import Arrays, cache_key, cached_arrays
from ofa_bert.data.readers import Example
from ofa_bert.data.tokenizer import Tokenizer
from ofa_bert.errors import InputError
from ofa_bert.fingerprint import hash_arrays

FORMAT_VERSION = "1"
"""Part of a cache file's key; a change of what the arrays mean needs another."""


@dataclass(frozen=True)
class EncodedDataset:
    """Rows of token ids of different lengths, end to end, with a label each."""

    input_ids: np.ndarray
    """int32 ``[all tokens]``."""
    token_type_ids: np.ndarray
    """int32 ``[all tokens]``."""
    offsets: np.ndarray
    """int64 ``[rows + 1]``: row ``i`` stands at ``offsets[i]`` to ``offsets[i + 1]``."""
    labels: np.ndarray
    """``[rows]``: int64 classes, or float32 numbers for a regression."""
    pad_token_id: int = 0
    positive_class: int = 1
    """Index of the class that F1 counts."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int64 ``[rows]``."""
        return np.diff(self.offsets)

    @cached_property
    def token_counts(self) -> np.ndarray:
        """Tokens of each row that no mask leaves out, int64 ``[rows]``.

        A text may hold ``[PAD]``, which is padding to a graph: it masks by id.
        """
        counted = np.concatenate([[0], np.cumsum(self.input_ids != self.pad_token_id)])
        return np.diff(counted[self.offsets])

    def row(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Give the token ids and segment ids of one row, ``[length]`` each."""
        at = slice(self.offsets[index], self.offsets[index + 1])
        return self.input_ids[at], self.token_type_ids[at]

    def spread(self, count: int) -> EncodedDataset:
        """Give ``count`` rows at even distances, or all where there are fewer.

        The first ones of a file that is sorted by label would all be of one class.
        """
        if count >= len(self):
            return self
        rows = np.arange(count) * len(self) // count
        parts = [self.row(i) for i in rows]
        return replace(
            self,
            input_ids=np.concatenate([ids for ids, _ in parts]),
            token_type_ids=np.concatenate([types for _, types in parts]),
            offsets=np.concatenate([[0], self.lengths[rows].cumsum()]),
            labels=self.labels[rows],
        )

    def fingerprint(self) -> str:
        """Hash the rows, their order and their labels."""
        return hash_arrays(
            {
                "input_ids": self.input_ids,
                "token_type_ids": self.token_type_ids,
                "offsets": self.offsets,
                "labels": self.labels,
            }
        )


def encode_examples(
    examples: Sequence[Example],
    labels: Sequence[str],
    tokenizer: Tokenizer,
    max_seq_length: int,
    *,
    use_cache: bool = True,
) -> EncodedDataset:
    """Tokenise labelled texts, once: the ids are kept on disk for the next run.

    Args:
        examples: all with a pair or all without one.
        labels: label of each class, by index; empty for a regression.
        tokenizer: turns texts into ids.
        max_seq_length: most tokens of a row.
        use_cache: whether ids may be kept in, and come from, ``cache.cache_directory()``.

    Raises:
        InputError: if an example has no label, or one that is not in ``labels``.
    """
    encoded_labels = encode_labels(examples, labels)

    def build() -> Arrays:
        return _tokenize(examples, tokenizer, max_seq_length)

    if use_cache and examples:
        key = cache_key(_key_parts(examples, tokenizer, max_seq_length))
        arrays = cached_arrays(key, ("input_ids", "token_type_ids", "offsets"), build)
    else:
        arrays = build()
    return EncodedDataset(
        input_ids=arrays["input_ids"],
        token_type_ids=arrays["token_type_ids"],
        offsets=arrays["offsets"],
        labels=encoded_labels,
        pad_token_id=tokenizer.pad_token_id,
    )


def encode_labels(examples: Sequence[Example], labels: Sequence[str]) -> np.ndarray:
    """Give each example's label as its index in ``labels``, or as a number if that is empty.

    Returns:
        ``[rows]``: int64, or float32 for a regression.

    Raises:
        InputError: if an example has no label, or one that is not in ``labels``.
    """
    if not labels:
        if not all(isinstance(example.label, float) for example in examples):
            raise InputError("labels of a regression must be numbers; got a text without one")
        return np.array([example.label for example in examples], "float32")
    index = {label: i for i, label in enumerate(labels)}
    unknown = {str(example.label) for example in examples if example.label not in index}
    if unknown:
        raise InputError(f"labels must be among {list(labels)}; got {sorted(unknown)}")
    return np.array([index[str(example.label)] for example in examples], "int64")


def _tokenize(examples: Sequence[Example], tokenizer: Tokenizer, max_seq_length: int) -> Arrays:
    texts = [example.text for example in examples]
    pairs = [example.text_pair for example in examples if example.text_pair is not None]
    assert len(pairs) in (0, len(texts)), "pairs and single texts in one data set"
    encoded = tokenizer.encode(texts, pairs or None, max_seq_length)
    return {
        "input_ids": encoded.input_ids.values,
        "token_type_ids": encoded.token_type_ids.values,
        "offsets": encoded.input_ids.offsets,
    }


def _key_parts(
    examples: Sequence[Example], tokenizer: Tokenizer, max_seq_length: int
) -> Iterator[str | None]:
    yield from (FORMAT_VERSION, tokenizer.fingerprint, str(max_seq_length))
    for example in examples:
        yield from (example.text, example.text_pair)
