"""Loading: equal to paddlenlp on its own files and Hugging Face's, and clear about every fault."""

import json
import logging
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ofa_bert.checkpoint import hub
from ofa_bert.checkpoint.load import load_config, load_model
from ofa_bert.checkpoint.save import save_model
from ofa_bert.errors import InputError
from ofa_bert.model_config import ModelConfig
from tests.shared_data import shared
from tests.tiny import paddle, randomise, tiny_batch, tiny_config, tiny_model

# float32 sums in another order, over 6 layers of 384 at most.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}

theirs_too = pytest.mark.filterwarnings("ignore")  # importing paddlenlp warns


def run(model: Any, batch: dict[str, np.ndarray], **options: Any) -> Any:
    with paddle.no_grad():
        return model(**{name: paddle.to_tensor(array) for name, array in batch.items()}, **options)


def listing(directory: Path) -> dict[str, tuple[int, int]]:
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in directory.iterdir()}


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


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """Give the directory of a saved random model."""
    save_model(tiny_model(tiny_config(labels=("a", "b", "c"))), tmp_path / "model")
    return tmp_path / "model"


def edit_weights(directory: Path, edit: Callable[[dict[str, np.ndarray]], Any]) -> None:
    arrays = load_file(directory / "model.safetensors")
    edit(arrays)
    save_file(arrays, directory / "model.safetensors")


def edit_config(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def drop(*prefixes: str) -> Callable[[dict[str, np.ndarray]], None]:
    def edit(arrays: dict[str, np.ndarray]) -> None:
        for name in [name for name in arrays if name.startswith(prefixes)]:
            del arrays[name]

    return edit


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


def test_base_checkpoint_gets_a_classifier_and_says_so(
    ours: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit_weights(ours, drop("classifier."))
    model = load_model(ours, num_classes=4, labels=("p", "q", "r", "s"), seed=7)
    assert model.config.num_classes == 4
    assert model.config.labels == ("p", "q", "r", "s")
    expected = np.random.default_rng(7).normal(0.0, 0.02, (12, 4)).astype("float32")
    np.testing.assert_array_equal(model.classifier.weight.numpy(), expected)
    np.testing.assert_array_equal(model.classifier.bias.numpy(), np.zeros(4))
    message = f"{ours} has no classifier: starting from random weights (seed 7); fine-tune"
    assert [message in text for text in caplog.messages] == [True]


def test_missing_pooler_too(ours: Path, caplog: pytest.LogCaptureFixture) -> None:
    edit_weights(ours, drop("classifier.", "bert.pooler."))
    model = load_model(ours)
    assert "has no pooler and no classifier" in caplog.text
    assert (model.config.num_classes, model.config.labels) == (3, ())  # a, b, c were another's
    assert 0.01 < float(model.bert.pooler.dense.weight.std()) < 0.03
    assert model.classifier.weight.shape == [12, 3]


def test_a_whole_checkpoint_logs_nothing(ours: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="ofa_bert")
    load_model(ours)
    assert caplog.messages == []


def test_classes_of_a_trained_classifier_stay(ours: Path) -> None:
    assert load_model(ours, num_classes=3).config.labels == ("a", "b", "c")
    with pytest.raises(InputError, match=r"num_classes must be 3, .* in .*model; got 2; use a"):
        load_model(ours, num_classes=2)
    with pytest.raises(InputError, match=r"labels must be \['a', 'b', 'c'\].* got \['c', 'b', 'a'"):
        load_model(ours, labels=("c", "b", "a"))
    edit_config(ours, labels=[])
    assert load_model(ours, labels=("c", "b", "a")).config.labels == ("c", "b", "a")


def test_names_that_are_assumed_are_told(ours: Path, caplog: pytest.LogCaptureFixture) -> None:
    edit_config(ours, labels=[])
    load_model(ours, labels=("0", "1", "2"))  # which say no more than the numbers of the classes
    assert caplog.messages == []
    load_model(ours, labels=("contradiction", "entailment", "neutral"))
    (message,) = caplog.messages
    assert f"{ours} does not name its classes" in message
    assert "taken for contradiction, entailment, neutral, in this order; if it was" in message


def test_everything_that_does_not_fit_is_named_at_once(ours: Path) -> None:
    def spoil(arrays: dict[str, np.ndarray]) -> None:
        del arrays["bert.pooler.dense.bias"]
        arrays["bert.adapter.weight"] = np.zeros(2, "float32")
        arrays["classifier.weight"] = np.zeros((12, 5), "float32")
        arrays["classifier.bias"] = np.zeros(3, "int64")

    edit_weights(ours, spoil)
    message = (
        r"model\.safetensors do not fit the model config; "
        r"missing: bert\.pooler\.dense\.bias; "
        r"unexpected: bert\.adapter\.weight; "
        r"wrong shape: classifier\.weight is \[12, 5\], must be \[12, 3\]; "
        r"wrong dtype: classifier\.bias is int64, must be a float$"
    )
    with pytest.raises(InputError, match=message):
        load_model(ours)


def test_a_long_list_is_abbreviated(ours: Path) -> None:
    edit_weights(ours, drop("bert.encoder.layers.1."))  # 16 parameters
    with pytest.raises(InputError, match=r"missing: bert\.encoder.*and 8 more$") as caught:
        load_model(ours)
    assert str(caught.value).count("bert.encoder") == 8


def test_a_config_that_claims_terabytes_takes_no_memory(ours: Path) -> None:
    edit_config(ours, vocab_size=2**31, hidden_size=2**20)
    with pytest.raises(InputError, match=r"must be \[2147483648, 1048576\]"):
        load_model(ours)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(ours: Path, value: float) -> None:
    edit_weights(ours, lambda arrays: arrays["classifier.bias"].__setitem__(1, value))
    with pytest.raises(InputError, match=r"must be finite .* NaN or infinity in classifier\.bias$"):
        load_model(ours)


def test_one_parameter_twice(ours: Path) -> None:
    edit_weights(ours, lambda a: a.update({"pooler.dense.bias": a["bert.pooler.dense.bias"]}))
    with pytest.raises(
        InputError, match=r"must hold 'bert\.pooler\.dense\.bias' once; got it twice"
    ):
        load_model(ours)


def test_weights_of_another_network(ours: Path) -> None:
    save_file({"conv.weight": np.zeros(3, "float32")}, ours / "model.safetensors")
    with pytest.raises(InputError, match=r"must be named as PaddleNLP .* got 'conv\.weight'"):
        load_model(ours)


@pytest.mark.parametrize("kept", [0, 4, 100, 5000, -1])
def test_a_truncated_file(ours: Path, kept: int) -> None:
    path = ours / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"is damaged or cut short .*; copy or download it again"):
        load_model(ours)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (struct.pack("<Q", 1 << 45) + b"{}", "is damaged or cut short"),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,99]}}', "is damaged or cut short"),
        (
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
            b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
            "damaged or cut short|stands twice",
        ),
        (
            b'{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}',
            "dtype F8_E4M3 is none of F64",
        ),
    ],
)
def test_a_hostile_header(ours: Path, header: bytes, message: str) -> None:
    start = header if header[:1] != b"{" else struct.pack("<Q", len(header)) + header
    (ours / "model.safetensors").write_bytes(start + b"\0\0\0\0")
    with pytest.raises(InputError, match=message):
        load_model(ours)


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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bert-base-uncased", True),
        ("owner/model.v2", True),
        ("./bert", False),
        ("/data/bert", False),
        ("../bert", False),
        ("a/b/c", False),
        ("here/model", False),
        ("bert base", False),
    ],
)
def test_hub_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: bool
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert hub.is_hub_name(name) is expected


def test_a_hub_name_without_paddlenlp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'ofa_bert\[paddlenlp\]'$"):
        load_model("bert-base-of-nobody")


@theirs_too
def test_a_hub_name_when_the_hub_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    download = pytest.importorskip("paddlenlp.utils.download")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(download, "resolve_file_path", fail)
    message = (
        r"^model 'bert-base-{}' must be a directory or a name the hub knows; .*cannot be reached .*"
        r"\(OSError\); give the path of a directory$"
    )
    for name in ("uncased", "of-nobody"):
        with pytest.raises(InputError, match=message.format(name)):
            load_model(f"bert-base-{name}")


@theirs_too
def test_a_hub_name_is_read_from_the_cache_of_paddlenlp(
    ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = pytest.importorskip("paddlenlp.utils.download")

    def find(name: str, filenames: list[str], **_: Any) -> str:
        assert name == "owner/model"
        return next(str(ours / name) for name in filenames if (ours / name).exists())

    monkeypatch.setattr(download, "resolve_file_path", find)
    exact = load_file(ours / "model.safetensors")
    loaded = load_model("owner/model").state_dict()
    for key, array in exact.items():
        np.testing.assert_array_equal(loaded[key].numpy(), array)


def test_a_read_only_directory_is_enough(ours: Path) -> None:
    before = listing(ours)
    ours.chmod(0o500)
    try:
        load_model(ours)
    finally:
        ours.chmod(0o700)
    assert listing(ours) == before
    assert sorted(os.listdir(ours)) == ["config.json", "model.safetensors"]
