"""Weights that do not fit, are no numbers, or are cut short: each fault is named."""

import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ofa_bert.checkpoint.load import load_model
from ofa_bert.errors import InputError
from tests.load.saved import drop, edit_config, edit_weights


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
