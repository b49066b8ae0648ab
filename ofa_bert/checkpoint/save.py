"""Write a model so that every loader of ours reads it back the same."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors.numpy import save

from ofa_bert.checkpoint.files import reason, replacing, write_json
from ofa_bert.checkpoint.model_config import CONFIG_FILE
from ofa_bert.errors import InputError
from ofa_bert.nn.bert import BertForSequenceClassification

WEIGHTS_FILE = "model.safetensors"


class SavesItself(Protocol):
    """A tokenizer."""

    def save(self, directory: str | Path) -> None:
        """Write its files into ``directory``."""


def save_model(
    model: BertForSequenceClassification,
    directory: str | Path,
    tokenizer: SavesItself | None = None,
) -> None:
    """Write ``model.safetensors`` (float32), ``config.json`` and the tokenizer's files.

    The directory is made if need be; each file appears whole or not at all.

    Raises:
        InputError: if the system refuses to write.
    """
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"directory {directory} cannot be made: {reason(error)}") from None
    arrays = {
        name: np.ascontiguousarray(parameter.numpy(), np.float32)
        for name, parameter in model.state_dict().items()
    }
    with replacing(directory / WEIGHTS_FILE) as temporary:
        temporary.write_bytes(save(arrays, metadata={"format": "pd"}))
    write_json(directory / CONFIG_FILE, model.config.to_dict())
    if tokenizer is not None:
        tokenizer.save(directory)
