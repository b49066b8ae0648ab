"""Save a model as a static graph for Paddle Inference."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paddle

import ofa_bert.export.network
from ofa_bert.checkpoint.files import write_json
from ofa_bert.data.tokenizer import Tokenizer
from ofa_bert.deploy import DEPLOY_FILE, GRAPH_FILE, INPUT_NAMES, PARAMS_FILE, DeployInfo
from ofa_bert.errors import InputError
from ofa_bert.export.network import LogitsNetwork
from ofa_bert.export.staging import STATIC, staged
from ofa_bert.model_config import ModelConfig
from ofa_bert.nn.bert import BertForSequenceClassification
from ofa_bert.nn.mode import evaluating
from ofa_bert.places import scratch_directory
from ofa_bert.rules import require

# It branches on plain numbers only, so tracing it is enough; paddle would rewrite its source.
paddle.jit.ignore_module([ofa_bert.export.network])


def export_static(
    model: BertForSequenceClassification,
    directory: str | Path,
    *,
    tokenizer: Tokenizer,
    max_seq_length: int,
) -> Path:
    """Write a static graph, the tokenizer's files and ``deploy.json``, all or nothing.

    The graph takes any batch size and any length up to the model's positions.

    Args:
        model: a plain model; the mode it is in (training or eval) is the same afterwards.
        directory: new, empty, or an earlier export, which is replaced.
        tokenizer: what turns texts into the model's ids.
        max_seq_length: tokens to cut texts to.

    Returns:
        ``directory``.

    Raises:
        InputError: if ``max_seq_length`` does not fit the model, the tokenizer has another padding
            id, or ``directory`` holds something else.
    """
    directory = Path(directory)
    with staged(directory, STATIC) as stage:
        write_static(model, stage, tokenizer=tokenizer, max_seq_length=max_seq_length)
    return directory


def write_static(
    model: BertForSequenceClassification,
    directory: Path,
    *,
    tokenizer: Tokenizer,
    max_seq_length: int,
) -> None:
    """Write the files of ``export_static`` one by one into an existing directory."""
    check_max_seq_length(max_seq_length, model.config.max_position_embeddings)
    check_padding(model.config, tokenizer)
    _save_graph(model, directory)
    _check_whole(model, directory)
    tokenizer.save(directory)
    file_bytes = {name: (directory / name).stat().st_size for name in (GRAPH_FILE, PARAMS_FILE)}
    info = DeployInfo.from_config(model.config, max_seq_length, file_bytes)
    write_json(directory / DEPLOY_FILE, info.to_dict())


def check_max_seq_length(max_seq_length: int, max_position_embeddings: int) -> None:
    """Raise ``InputError`` unless texts of ``max_seq_length`` tokens fit the model."""
    require(
        3 <= max_seq_length <= max_position_embeddings,
        f"max_seq_length must be 3 to {max_position_embeddings}, the model's positions; "
        f"got {max_seq_length}; type --max_seq_length {min(128, max_position_embeddings)}",
    )


def check_padding(config: ModelConfig, tokenizer: Tokenizer) -> None:
    """Raise ``InputError`` unless the tokenizer's padding id is the model's.

    Batches are padded and masked by the tokenizer's id, a graph masks by the model's: where another
    id stands for padding, it would hide a word and see the padding.
    """
    require(
        config.pad_token_id == tokenizer.pad_token_id,
        f"pad_token_id must be {tokenizer.pad_token_id}, the tokenizer's [PAD]; got "
        f"{config.pad_token_id} in the model's config; set pad_token_id in its config.json to "
        f"{tokenizer.pad_token_id}",
    )


def _save_graph(model: BertForSequenceClassification, directory: Path) -> None:
    network = LogitsNetwork(model)
    specs = [paddle.static.InputSpec([None, None], "int64", name) for name in INPUT_NAMES]
    with evaluating(network), _home_in_the_cache():
        paddle.jit.save(network, str(directory / Path(GRAPH_FILE).stem), input_spec=specs)


def _check_whole(model: BertForSequenceClassification, directory: Path) -> None:
    """Raise ``InputError`` if files are cut short: paddle fills a disk without a word."""
    least = sum(4 * parameter.size for parameter in model.parameters())
    found = (directory / PARAMS_FILE).stat().st_size
    try:
        json.loads((directory / GRAPH_FILE).read_bytes())
    except ValueError:
        found = 0
    if found < least:
        raise InputError(
            f"static graph cannot be written whole to {directory}: paddle wrote only a part; "
            "make room on the disk"
        )


@contextmanager
def _home_in_the_cache() -> Iterator[None]:
    """Keep paddle from writing the source it traces below the user's home, which it names itself.

    A home that is read-only would fail the export.
    """
    home = os.environ.get("HOME")
    with scratch_directory("trace") as scratch:
        os.environ["HOME"] = str(scratch)
        try:
            yield
        finally:
            del os.environ["HOME"]
            if home is not None:
                os.environ["HOME"] = home
