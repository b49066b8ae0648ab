"""A name that is no directory is one of the hub, whose cache PaddleNLP keeps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from ofa_bert.checkpoint import hub
from ofa_bert.checkpoint.load import load_model
from ofa_bert.errors import InputError

theirs_too = pytest.mark.filterwarnings("ignore")  # importing paddlenlp warns


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
