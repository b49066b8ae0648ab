"""Fetch a model by its hub name, through paddlenlp and into paddlenlp's own cache."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ofa_bert.checkpoint.files import read_json
from ofa_bert.checkpoint.model_config import CONFIG_FILE, OLD_CONFIG_FILE
from ofa_bert.checkpoint.weights import READERS
from ofa_bert.errors import InputError

HUB_NAME = r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?"
VOCAB_FILE = "vocab.txt"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
TIMEOUT_SECONDS = 5.0


def is_hub_name(name: str) -> bool:
    """Tell ``bert-base-uncased`` and ``owner/model`` from paths such as ``./out``."""
    first = name.split("/")[0]
    return re.fullmatch(HUB_NAME, name) is not None and not os.path.exists(first)


def fetch(name: str) -> tuple[dict[str, Any], Path]:
    """Download a model unless paddlenlp's cache has it.

    Returns:
        The values of its config, and its file of weights in the cache.

    Raises:
        InputError: if paddlenlp is not installed, or the hub has no such model or is not reached.
    """
    _need_paddlenlp(name)
    from paddlenlp.transformers import BertModel

    with _one_line_errors(name):
        known = BertModel.pretrained_init_configuration.get(name)
        weights = [*READERS]
        if known is None:
            known = read_json(_cached(name, [CONFIG_FILE, OLD_CONFIG_FILE]), "model config")
        else:
            weights = [BertModel.pretrained_resource_files_map["model_state"][name]]
        return dict(known), _cached(name, weights)


def fetch_vocab(name: str) -> tuple[Path, dict[str, Any] | None]:
    """Download a model's vocabulary unless paddlenlp's cache has it.

    Returns:
        Its vocab.txt in the cache, and the values of its tokenizer config, from paddlenlp or else
        from the hub; None where neither has one.

    Raises:
        InputError: as ``fetch``.
    """
    _need_paddlenlp(name)
    from paddlenlp.transformers import BertTokenizer

    with _one_line_errors(name):
        known = BertTokenizer.pretrained_init_configuration.get(name)
        if known is None:
            return _cached(name, [VOCAB_FILE]), _tokenizer_config(name)
        files = BertTokenizer.pretrained_resource_files_map["vocab_file"]
        return _cached(name, [files[name]]), dict(known)


def _tokenizer_config(name: str) -> dict[str, Any] | None:
    try:
        path = _cached(name, [TOKENIZER_CONFIG_FILE])
    except OSError:  # what paddlenlp makes of a file that is not there
        return None
    return read_json(path, "tokenizer config")


def _need_paddlenlp(name: str) -> None:
    if importlib.util.find_spec("paddlenlp") is None:
        raise InputError(
            f"model {name!r} must be a directory, and there is none; to look for it on the hub "
            "too: pip install 'ofa_bert[paddlenlp]'"
        )


@contextmanager
def _one_line_errors(name: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # paddlenlp lets through whatever its downloaders raise
        raise InputError(
            f"model {name!r} must be a directory or a name the hub knows; there is no such "
            f"directory, and the hub cannot be reached or does not have it "
            f"({type(error.__context__ or error).__name__}); give the path of a directory"
        ) from None


def _cached(name: str, filenames: list[str]) -> Path:
    """Give the first of the files the hub has, in paddlenlp's cache."""
    from paddlenlp.utils.download import resolve_file_path

    path = resolve_file_path(name, filenames, etag_timeout=TIMEOUT_SECONDS)
    if path is None:
        raise FileNotFoundError(f"none of {', '.join(filenames)}")
    return Path(path)
