"""Where we write beside what the user names: one folder of the user's cache."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path:
    """Give the folder of all we keep: ``OFA_BERT_CACHE``, or ``ofa_bert`` in the user's cache."""
    chosen = os.environ.get("OFA_BERT_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ofa_bert"
