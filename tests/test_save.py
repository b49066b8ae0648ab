"""Saving: the same model comes back, and a failed write leaves the old file."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors

from ofa_bert.checkpoint.files import read_json, replacing, write_json
from ofa_bert.checkpoint.load import load_model
from ofa_bert.checkpoint.save import save_model
from ofa_bert.errors import InputError
from tests.tiny import paddle, tiny_batch, tiny_config, tiny_model


class WordList:
    """Stands in for a tokenizer."""

    def save(self, directory: str | Path) -> None:
        (Path(directory) / "vocab.txt").write_text("[PAD]\n")


def test_the_same_model_comes_back(tmp_path: Path) -> None:
    config = tiny_config(num_attention_heads=(4, 1), intermediate_size=(24, 5), task_name="rte")
    model = tiny_model(config)
    save_model(model, tmp_path / "new" / "model", WordList())
    files = sorted(path.name for path in (tmp_path / "new" / "model").iterdir())
    assert files == ["config.json", "model.safetensors", "vocab.txt"]
    loaded = load_model(tmp_path / "new" / "model")
    assert loaded.config == config
    batch = {name: paddle.to_tensor(array) for name, array in tiny_batch().items()}
    np.testing.assert_array_equal(loaded(**batch).logits.numpy(), model(**batch).logits.numpy())


def test_the_files_are_those_of_any_safetensors_model(tmp_path: Path) -> None:
    model = tiny_model()
    save_model(model, tmp_path)
    with safetensors.safe_open(tmp_path / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pd"}
        assert set(file.keys()) == set(model.state_dict())
        weight = file.get_tensor("classifier.weight")
    assert weight.dtype == np.float32
    np.testing.assert_array_equal(weight, model.classifier.weight.numpy())
    values = json.loads((tmp_path / "config.json").read_text())
    assert (values["model_type"], values["num_attention_heads"], values["head_dim"]) == (
        "bert",
        4,
        3,
    )


def test_saving_again_replaces(tmp_path: Path) -> None:
    save_model(tiny_model(seed=0), tmp_path)
    model = tiny_model(seed=1)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    np.testing.assert_array_equal(loaded.classifier.weight.numpy(), model.classifier.weight.numpy())


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tiny_model(), tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()

    def half(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(InputError, match=r"safetensors cannot be written: No space left on device"):
        save_model(tiny_model(seed=1), tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"directory .*/file/model cannot be made: "):
        save_model(tiny_model(), tmp_path / "file" / "model")


def test_json_files(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    value = {"标签": ["好", "坏"], "f1": 0.5, "none": None}
    write_json(path, value)
    assert read_json(path, "results") == value
    assert "标签" in path.read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"results .*/b\.json cannot be read: No such file"):
        read_json(tmp_path / "b.json", "results")


def test_a_huge_json_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="must be at most 16777216 bytes; it is larger"):
        read_json(path, "results")
