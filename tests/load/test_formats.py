"""What is loaded equals what PaddleNLP and Hugging Face saved, name by name, layer by layer."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ofa_bert.checkpoint.load import load_model
from tests.load.saved import listing
from tests.shared_data import shared
from tests.tiny import paddle, randomise, tiny_batch, tiny_model

# float32 sums in another order, over 6 layers of 384 at most.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
theirs_too = pytest.mark.filterwarnings("ignore")  # importing paddlenlp warns


def run(model: Any, batch: dict[str, np.ndarray], **options: Any) -> Any:
    with paddle.no_grad():
        return model(**{name: paddle.to_tensor(array) for name, array in batch.items()}, **options)


def their_model(**changes: Any) -> Any:
    """Give a random paddlenlp model whose LayerNorm epsilon is large enough to be missed."""
    transformers = pytest.importorskip("paddlenlp.transformers")
    config = transformers.BertConfig(
        vocab_size=60,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=32,
        layer_norm_eps=0.001,
        num_labels=3,
        **changes,
    )
    model = transformers.BertForSequenceClassification(config)
    randomise(model)
    model.eval()
    return model


@theirs_too
@pytest.mark.parametrize("safe", [False, True], ids=["pdparams", "safetensors"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_equals_paddlenlp_on_its_own_directory(tmp_path: Path, safe: bool, activation: str) -> None:
    theirs = their_model(hidden_act=activation)
    theirs.save_pretrained(str(tmp_path), safe_serialization=safe)
    before = listing(tmp_path)
    model = load_model(tmp_path)
    assert listing(tmp_path) == before
    assert not model.training
    batch = tiny_batch()
    expected = run(theirs, batch, output_hidden_states=True, return_dict=True)
    output = run(model, batch)
    np.testing.assert_allclose(output.logits.numpy(), expected.logits.numpy(), **CLOSE)
    assert len(output.hidden_states) == len(expected.hidden_states) == 3
    for hidden, their_hidden in zip(output.hidden_states, expected.hidden_states, strict=True):
        np.testing.assert_allclose(hidden.numpy(), their_hidden.numpy(), **CLOSE)


@theirs_too
def test_equals_paddlenlp_without_the_prefix(tmp_path: Path) -> None:
    theirs = their_model()
    theirs.bert.save_pretrained(str(tmp_path))
    batch = tiny_batch()
    pooled = run(theirs.bert, batch)[1]
    model = load_model(tmp_path, num_classes=5)
    expected = pooled @ model.classifier.weight
    np.testing.assert_allclose(run(model, batch).logits.numpy(), expected.numpy(), **CLOSE)


@theirs_too
def test_equals_paddlenlp_on_a_huggingface_directory(tmp_path: Path) -> None:
    minilm = shared("models/all-MiniLM-L6-v2")
    transformers = pytest.importorskip("paddlenlp.transformers")
    # paddlenlp writes what it converted into the directory it reads.
    for name in ("config.json", "model.safetensors"):
        shutil.copy(minilm / name, tmp_path)
    theirs = transformers.BertModel.from_pretrained(str(tmp_path), convert_from_torch=True)
    theirs.eval()
    before = listing(minilm)
    model = load_model(minilm, num_classes=2)
    assert listing(minilm) == before
    batch = tiny_batch(batch=3, seq_len=24)
    batch["input_ids"] = batch["input_ids"] * 500  # all over the vocabulary
    states, pooled, *_, hidden_states = run(theirs, batch, output_hidden_states=True)
    output = run(model, batch)
    for hidden, their_hidden in zip(output.hidden_states, hidden_states, strict=True):
        np.testing.assert_allclose(hidden.numpy(), their_hidden.numpy(), **CLOSE)
    np.testing.assert_allclose(output.hidden_states[-1].numpy(), states.numpy(), **CLOSE)
    expected = (pooled @ model.classifier.weight).numpy()
    np.testing.assert_allclose(output.logits.numpy(), expected, **CLOSE)


def huggingface_copy(directory: Path, model: Any, prefix: str = "bert.") -> None:
    """Write ``model`` as Hugging Face would, by names spelt out here and not in names.py."""
    arrays = {"embeddings.position_ids": np.arange(160)[None]}
    spelling = [
        ("encoder.layers", "encoder.layer"),
        ("self_attn.q_proj", "attention.self.query"),
        ("self_attn.k_proj", "attention.self.key"),
        ("self_attn.v_proj", "attention.self.value"),
        ("self_attn.out_proj", "attention.output.dense"),
        ("norm1", "attention.output.LayerNorm"),
        ("norm2", "output.LayerNorm"),
        ("linear1", "intermediate.dense"),
        ("linear2", "output.dense"),
        ("layer_norm", "LayerNorm"),
        ("bert.", prefix),
    ]
    for name, parameter in model.state_dict().items():
        array = parameter.numpy()
        for ours, theirs in spelling:
            name = name.replace(ours, theirs)
        arrays[name] = array if "_embeddings" in name else np.ascontiguousarray(array.T)
    directory.mkdir()
    save_file(arrays, directory / "model.safetensors")
    values = model.config.to_dict()
    del values["head_dim"], values["num_classes"], values["labels"]
    (directory / "config.json").write_text(json.dumps({**values, "num_labels": 3}))


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_huggingface_names_and_layouts(tmp_path: Path, prefix: str) -> None:
    model = tiny_model()
    huggingface_copy(tmp_path / "hf", model, prefix)
    loaded = load_model(tmp_path / "hf").state_dict()
    for name, parameter in model.state_dict().items():
        np.testing.assert_array_equal(loaded[name].numpy(), parameter.numpy())


def test_half_precision_becomes_float32(ours: Path) -> None:
    """Of the three, the safetensors library for NumPy cannot read bfloat16."""
    exact = load_file(ours / "model.safetensors")
    name = "bert.encoder.layers.1.linear1.weight"
    header, data = {}, b""
    for key, array in exact.items():
        kind = {0: "F16", 1: "BF16", 2: "F64"}[len(header) % 3]
        bits = (array.view(np.uint32) >> 16).astype(np.uint16)
        stored = {"F16": array.astype("f2"), "BF16": bits, "F64": array.astype("f8")}[kind]
        offsets = [len(data), len(data) + stored.nbytes]
        header[key] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        data += stored.tobytes()
    assert {entry["dtype"] for entry in header.values()} == {"F16", "BF16", "F64"}
    text = json.dumps(header).encode()
    (ours / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    loaded = load_model(ours).state_dict()
    for key, array in exact.items():
        assert loaded[key].dtype == paddle.float32
        # bfloat16 keeps 8 bits of mantissa; cutting off the rest loses up to 2**-7.
        np.testing.assert_allclose(loaded[key].numpy(), array, rtol=2**-7, atol=1e-6)
    assert name in loaded
