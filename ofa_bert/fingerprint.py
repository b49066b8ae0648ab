"""A short name for the content of arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np


def hash_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Hash named arrays (SHA-256): names, dtypes, shapes and values, in order of their names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        # Led by its form, so that one array's bytes cannot pass for another's.
        digest.update(f"{name!r} {array.dtype.str} {arrays[name].shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()
