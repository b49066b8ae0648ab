"""Which directories are a model's, and what of them is touched."""

import os
from pathlib import Path

import pytest

from ofa_bert.checkpoint.load import load_config, load_model
from ofa_bert.errors import InputError
from ofa_bert.model_config import ModelConfig
from tests.load.saved import listing
from tests.tiny import tiny_config


def test_what_is_no_model_directory(ours: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=f"model directory {empty} must hold a model; it is empty"):
        load_model(empty)
    with pytest.raises(InputError, match=f"must be a directory; got the file .* type {ours}$"):
        load_model(ours / "config.json")
    for name in ("./gone", "/" + "x" * 300, "../a\0b"):
        with pytest.raises(InputError, match=r"model directory '.*' does not exist; check the"):
            load_model(name)
    (ours / "model.safetensors").unlink()
    message = r"must hold one of model\.safetensors, model_state\.pdparams, pytorch_model\.bin; it"
    with pytest.raises(InputError, match=message):
        load_model(ours)
    (ours / "model_state.pdparams.index.json").write_text("{}")
    with pytest.raises(InputError, match=r"must be one file; got shards .* larger max_shard_size"):
        load_model(ours)


def test_a_directory_that_may_not_be_read(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(InputError, match=f"{ours} must be readable; permission denied"):
        load_config(ours)


def test_load_config_needs_no_weights(ours: Path) -> None:
    (ours / "model.safetensors").unlink()
    config = load_config(ours)
    assert isinstance(config, ModelConfig)
    assert config == tiny_config(labels=("a", "b", "c"))
    with pytest.raises(InputError, match="does not exist"):
        load_config(ours / "gone")


def test_a_read_only_directory_is_enough(ours: Path) -> None:
    before = listing(ours)
    ours.chmod(0o500)
    try:
        load_model(ours)
    finally:
        ours.chmod(0o700)
    assert listing(ours) == before
    assert sorted(os.listdir(ours)) == ["config.json", "model.safetensors"]
