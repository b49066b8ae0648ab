"""Rows of different lengths in one array."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """Rows end to end: ``rows[i]`` is ``values[offsets[i]:offsets[i + 1]]``."""

    values: np.ndarray
    """int32 ``[all tokens]``."""
    offsets: np.ndarray
    """int64 ``[rows + 1]``, the first 0, never falling."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        if not -len(self) <= index < len(self):
            raise IndexError(f"row must be below {len(self)}; got {index}")
        row = index % len(self)
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))
