"""Labelled texts as token ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np


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

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int64 ``[rows]``."""
        return np.diff(self.offsets)

    def row(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Give the token ids and segment ids of one row, ``[length]`` each."""
        at = slice(self.offsets[index], self.offsets[index + 1])
        return self.input_ids[at], self.token_type_ids[at]

    def head(self, count: int) -> EncodedDataset:
        """Give the first ``count`` rows, or all where there are fewer."""
        count = min(count, len(self))
        end = self.offsets[count]
        return replace(
            self,
            input_ids=self.input_ids[:end],
            token_type_ids=self.token_type_ids[:end],
            offsets=self.offsets[: count + 1],
            labels=self.labels[:count],
        )
