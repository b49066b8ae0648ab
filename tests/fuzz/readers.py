"""Every reader of files from strangers, as a function of bytes: it succeeds or says an InputError.

``tests/test_fuzz.py`` feeds them in ``make test``, ``tests/fuzz/run.py`` with atheris for longer.
"""

from __future__ import annotations

import functools
import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ofa_bert import runtime

runtime.prepare()

from ofa_bert.arguments import flags_of, read_yaml  # noqa: E402
from ofa_bert.checkpoint.files import read_json  # noqa: E402
from ofa_bert.checkpoint.load import load_model  # noqa: E402
from ofa_bert.checkpoint.model_config import read_model_config  # noqa: E402
from ofa_bert.checkpoint.save import save_model  # noqa: E402
from ofa_bert.checkpoint.weights import read_weights  # noqa: E402
from ofa_bert.commands.predict import chunks  # noqa: E402
from ofa_bert.commands.rerun import read_run  # noqa: E402
from ofa_bert.config import DataConfig, SupernetConfig, TrainConfig  # noqa: E402
from ofa_bert.data.cache import _read as read_cache  # noqa: E402
from ofa_bert.data.dataset import load_task  # noqa: E402
from ofa_bert.data.tokenizer import load_tokenizer  # noqa: E402
from ofa_bert.deploy import DeployInfo  # noqa: E402
from ofa_bert.errors import InputError  # noqa: E402
from ofa_bert.export.source import card_facts  # noqa: E402
from ofa_bert.remembered import data_settings  # noqa: E402
from ofa_bert.safe_graph import check_graph, check_params  # noqa: E402
from ofa_bert.subnet import Subnet  # noqa: E402
from ofa_bert.supernet import load_supernet  # noqa: E402
from tests.tiny import tiny_config, tiny_model, tiny_tokenizer  # noqa: E402

LONGEST_MESSAGE = 20_000
"""Characters; what is printed is cut to fewer, and what is raised must not be a file's size."""
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
KNOWN = {
    name: flag
    for group in (DataConfig, SupernetConfig, TrainConfig)
    for name, flag in flags_of(group).items()
}


def read_safely(reader: str, data: bytes) -> bool:
    """Run a reader on ``data`` and say whether it took it; only an ``InputError`` is a no."""
    try:
        with tempfile.TemporaryDirectory(dir=IN_MEMORY, prefix="fuzz_") as folder:
            READERS[reader](data, Path(folder))
    except InputError as error:
        if len(str(error)) > LONGEST_MESSAGE:
            raise AssertionError(f"a message of {len(str(error))} characters") from error
        return False
    return True


def _data(suffix: str) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        path = _write(folder, f"data{suffix}", data)
        for skip in (False, True):
            config = DataConfig(
                train_file=str(path),
                dev_file=str(path),
                text_columns=("text",),
                label_column="label",
                skip_bad_rows=skip,
            )
            try:
                load_task(config)
            except InputError:
                if skip:
                    raise

    return read


def _model_file(name: str) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        read_weights(_write(folder, name, data))

    return read


def _model_config(data: bytes, folder: Path) -> None:
    _write(folder, "config.json", data)
    read_model_config(folder)


def _model(data: bytes, folder: Path) -> None:
    """A config that does not belong to the weights beside it."""
    _write(folder, "config.json", data)
    (folder / "model.safetensors").symlink_to("weights")
    shutil.copy(_model_directory() / "model.safetensors", folder / "weights")
    load_model(folder)


def _tokenizer(data: bytes, folder: Path) -> None:
    _write(folder, "tokenizer.json", data)
    load_tokenizer(folder).encode(["w1 w2s ly", "\u00e9\u4e2d x" * 50], None, 16)


def _vocab(data: bytes, folder: Path) -> None:
    _write(folder, "vocab.txt", data)
    load_tokenizer(folder).encode(["w1 w2s ly"], ["w3"], 16)


def _added_tokens(data: bytes, folder: Path) -> None:
    shutil.copy(_model_directory() / "vocab.txt", folder)
    _write(folder, "added_tokens.json", data)
    load_tokenizer(folder).encode(["w1 w2s [e1]", "\u00e9\u200b\u4e2d x"], None, 16)


def _tokenizer_config(data: bytes, folder: Path) -> None:
    shutil.copy(_model_directory() / "vocab.txt", folder)
    _write(folder, "tokenizer_config.json", data)
    load_tokenizer(folder).encode(["w1 w2s [e1]", "\u00e9\u200b\u4e2d x"], None, 16)


def _special_tokens(data: bytes, folder: Path) -> None:
    shutil.copy(_model_directory() / "vocab.txt", folder)
    _write(folder, "special_tokens_map.json", data)
    load_tokenizer(folder).encode(["w1 w2s [e1]", "\u00e9\u200b\u4e2d x"], None, 16)


def _supernet(data: bytes, folder: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(_model_directory() / name, folder)
    _write(folder, "supernet.json", data)
    load_supernet(folder)


def _deploy(data: bytes, folder: Path) -> None:
    path = _write(folder, "deploy.json", data)
    DeployInfo.from_dict(read_json(path, "deployment file"))


def _graph(data: bytes, folder: Path) -> None:
    config = tiny_config()
    check_graph(_write(folder, "model.json", data), DeployInfo.from_config(config, 16, {}))


def _params(data: bytes, folder: Path) -> None:
    check_params(_write(folder, "model.pdiparams", data))


def _rerun(data: bytes, folder: Path) -> None:
    read_run(_write(folder, "results.json", data))


def _results(data: bytes, folder: Path) -> None:
    _write(folder, "results.json", data)
    card_facts(folder, Subnet((0, 1), (2, 2), (4, 4)))


def _yaml(data: bytes, folder: Path) -> None:
    read_yaml(str(_write(folder, "config.yaml", data)), KNOWN)


def _settings(data: bytes, folder: Path) -> None:
    _write(folder, "train_config.yaml", data)
    data_settings(folder)


def _cache(data: bytes, folder: Path) -> None:
    read_cache(_write(folder, "key.npz", data), ["input_ids"])


def _lines(data: bytes, folder: Path) -> None:
    file = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="\n")
    list(chunks(file, "lines"))


READERS: dict[str, Callable[[bytes, Path], None]] = {
    "tsv": _data(".tsv"),
    "csv": _data(".csv"),
    "jsonl": _data(".jsonl"),
    "lines": _lines,
    "pdparams": _model_file("model_state.pdparams"),
    "torch": _model_file("pytorch_model.bin"),
    "safetensors": _model_file("model.safetensors"),
    "model_config": _model_config,
    "model": _model,
    "tokenizer": _tokenizer,
    "vocab": _vocab,
    "tokenizer_config": _tokenizer_config,
    "added_tokens": _added_tokens,
    "special_tokens": _special_tokens,
    "supernet": _supernet,
    "deploy": _deploy,
    "graph": _graph,
    "params": _params,
    "results": _results,
    "rerun": _rerun,
    "yaml": _yaml,
    "settings": _settings,
    "cache": _cache,
}


@functools.cache
def _model_directory() -> Path:
    """A model of ours to copy files from."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz_model_"))
    save_model(tiny_model(tiny_config(num_neurons=8)), folder, tiny_tokenizer(folder))
    return folder


def _write(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name
