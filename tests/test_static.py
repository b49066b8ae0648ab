from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ofa_bert.deploy import DeployInfo
from ofa_bert.errors import InputError
from ofa_bert.export.static import export_static
from ofa_bert.extraction import extract
from ofa_bert.predictor import Predictor
from ofa_bert.subnet import Subnet, subnet_at_width
from tests.tiny import tiny_batch, tiny_config, tiny_model, tiny_tokenizer

import paddle  # isort: skip


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def model():
    return tiny_model(tiny_config(num_neurons=29, labels=("bad", "good", "so-so"), task_name="x"))


@pytest.fixture(scope="module")
def directory(model, tokenizer, tmp_path_factory):
    target = tmp_path_factory.mktemp("static") / "new" / "graph"
    sub_model = extract(model, subnet_at_width(model.config, 0.5))
    return export_static(sub_model, target, tokenizer=tokenizer, max_seq_length=128)


@pytest.fixture(scope="module")
def predictor(directory):
    return Predictor(directory)


def supernet_logits(model, batch, subnet):
    with paddle.no_grad():
        inputs = {name: paddle.to_tensor(ids) for name, ids in batch.items()}
        return model(**inputs, subnet=subnet).logits.numpy()


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("seq_len", [1, 2, 17, 128, 160])
def test_the_graph_takes_any_shape_and_equals_the_supernet(model, predictor, batch_size, seq_len):
    batch = tiny_batch(seq_len, batch_size, seq_len)
    expected = supernet_logits(model, batch, subnet_at_width(model.config, 0.5))
    found = predictor.logits(batch["input_ids"], batch["token_type_ids"])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_layers_of_different_sizes_can_be_exported(model, tokenizer, tmp_path):
    subnet = Subnet((1,), (3,), (5,))
    export_static(extract(model, subnet), tmp_path / "s", tokenizer=tokenizer, max_seq_length=9)
    batch = tiny_batch()
    found = Predictor(tmp_path / "s").logits(batch["input_ids"], batch["token_type_ids"])
    expected = supernet_logits(model, batch, subnet)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_directory_holds_what_a_deployer_needs(directory):
    names = {path.name for path in directory.iterdir()}
    assert {"model.json", "model.pdiparams", "deploy.json", "vocab.txt"} <= names
    said = json.loads((directory / "deploy.json").read_text())
    assert [(i["name"], i["dtype"], i["shape"]) for i in said["inputs"]] == [
        ("input_ids", "int64", ["batch", "seq_len"]),
        ("token_type_ids", "int64", ["batch", "seq_len"]),
    ]
    assert said["labels"] == ["bad", "good", "so-so"]
    assert said["task_name"] == "x"
    assert not said["is_regression"]
    assert (said["max_seq_length"], said["max_position_embeddings"]) == (128, 160)
    assert said["pad_token_id"] == 0
    assert said["versions"]["paddle"] == paddle.__version__
    assert said["file_bytes"]["model.pdiparams"] == (directory / "model.pdiparams").stat().st_size
    assert DeployInfo.from_dict(said).to_dict() == said


def test_nothing_else_is_left_beside_it(directory):
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]


def test_the_model_keeps_its_mode_and_still_runs(tokenizer, tmp_path):
    model = tiny_model()
    model.train()
    export_static(model, tmp_path / "static", tokenizer=tokenizer, max_seq_length=16)
    assert model.training
    model.eval()
    batch = tiny_batch()
    found = Predictor(tmp_path / "static").logits(batch["input_ids"], batch["token_type_ids"])
    np.testing.assert_allclose(found, supernet_logits(model, batch, None), rtol=1e-5, atol=1e-5)
    assert paddle.in_dynamic_mode()


def test_an_earlier_export_is_replaced(tokenizer, tmp_path):
    for seed in (0, 1):
        model = tiny_model(seed=seed)
        export_static(model, tmp_path / "static", tokenizer=tokenizer, max_seq_length=16)
    batch = tiny_batch()
    found = Predictor(tmp_path / "static").logits(batch["input_ids"], batch["token_type_ids"])
    np.testing.assert_allclose(found, supernet_logits(model, batch, None), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [2, 161])
def test_a_length_that_does_not_fit_leaves_nothing(tokenizer, tmp_path, length):
    with pytest.raises(InputError, match=f"max_seq_length must be 3 to 160, .*; got {length}; typ"):
        export_static(
            tiny_model(), tmp_path / "a" / "b", tokenizer=tokenizer, max_seq_length=length
        )
    assert list(tmp_path.iterdir()) == []


def test_deploy_info_says_what_is_missing():
    with pytest.raises(InputError, match=r"deploy.json must say labels, is_regression, task_name"):
        DeployInfo.from_dict({})


def test_deploy_json_says_how_many_texts_and_older_ones_need_not():
    said = DeployInfo.from_config(tiny_config(num_texts=2), 16, {}).to_dict()
    assert (said["num_texts"], DeployInfo.from_dict(said).num_texts) == (2, 2)
    with pytest.raises(InputError, match=r"num_texts must be 1, 2 or null; got 3; write the dir"):
        DeployInfo.from_dict({**said, "num_texts": 3})
    del said["num_texts"]
    assert DeployInfo.from_dict(said).num_texts is None


def test_a_graph_that_paddle_cut_short_is_told(tmp_path, monkeypatch):
    """As on a full disk: paddle's own writer does not say so (see tests/faults/test_disk.py)."""
    model, save = tiny_model(), paddle.jit.save
    for name in ("model.json", "model.pdiparams"):

        def cut_short(layer, path, name=name, **options):
            save(layer, path, **options)
            written = Path(path).with_name(name)
            written.write_bytes(written.read_bytes()[: written.stat().st_size // 2])

        monkeypatch.setattr(paddle.jit, "save", cut_short)
        with pytest.raises(
            InputError, match=r"written whole to .*: paddle wrote only a part; make room"
        ):
            export_static(
                model, tmp_path / "x", tokenizer=tiny_tokenizer(tmp_path / "t"), max_seq_length=16
            )
        assert not (tmp_path / "x").exists()
