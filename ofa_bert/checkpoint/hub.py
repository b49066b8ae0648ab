"""Fetch a model by its hub name, through paddlenlp and into paddlenlp's own cache."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Any

from ofa_bert.checkpoint.files import read_json
from ofa_bert.checkpoint.model_config import CONFIG_FILE, OLD_CONFIG_FILE
from ofa_bert.checkpoint.weights import READERS
from ofa_bert.errors import InputError

HUB_NAME = r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?"
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
    if importlib.util.find_spec("paddlenlp") is None:
        raise InputError(
            f"model {name!r} must be a directory, and there is none; to look for it on the hub "
            "too: pip install 'ofa_bert[paddlenlp]'"
        )
    from paddlenlp.transformers import BertModel

    known = BertModel.pretrained_init_configuration.get(name)
    weights = (
        [BertModel.pretrained_resource_files_map["model_state"][name]] if known else [*READERS]
    )
    try:
        if known is None:
            known = read_json(_cached(name, [CONFIG_FILE, OLD_CONFIG_FILE]), "model config")
        return dict(known), _cached(name, weights)
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
