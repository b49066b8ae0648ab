"""Files made to run code, to fill the memory or never to end: one line, and it is over.

Each runs in a process of its own that may hold ``MEMORY_BYTES`` more than it starts with and work
for ``SECONDS`` of processor time.
"""

from __future__ import annotations

import dataclasses
import html
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ofa_bert.checkpoint.load import load_model
from ofa_bert.checkpoint.model_config import read_model_config
from ofa_bert.checkpoint.save import save_model
from ofa_bert.checkpoint.weights import read_weights
from ofa_bert.data.readers import read_examples
from ofa_bert.data.rows import Columns
from ofa_bert.data.tokenizer import load_tokenizer
from ofa_bert.errors import InputError
from ofa_bert.export.model_card import CardFacts, model_card
from ofa_bert.subnet import full_subnet
from tests.runs import flags
from tests.tiny import tiny_config, tiny_model, tiny_tokenizer
from tests.torch_archives import Storage, archive, tensor

ROOT = Path(__file__).parent.parent
MEMORY_BYTES = 512 << 20
SECONDS = 60
CONFIG = tiny_config(labels=("a", "b", "c"))

CHILD = """
import resource, sys
from pathlib import Path
from ofa_bert.checkpoint.weights import read_weights
from ofa_bert.checkpoint.model_config import read_model_config
from ofa_bert.data.readers import read_examples
from ofa_bert.data.rows import Columns
from ofa_bert.data.tokenizer import load_tokenizer
from ofa_bert.errors import InputError
from ofa_bert.settings_file import read_settings_file

held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + {memory}, held + {memory}))
resource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds}))
readers = {{
    "weights": read_weights,
    "config": lambda path: read_model_config(path.parent),
    "rows": lambda path: read_examples(path, Columns(("text",), "label")),
    "tokenizer": lambda path: load_tokenizer(path.parent),
    "settings": lambda path: read_settings_file(path, "settings"),
}}
for line in sys.stdin.read().splitlines():
    reader, path = line.split("\\t")
    try:
        readers[reader](Path(path))
        print("read")
    except InputError as error:
        print("refused:", error)
"""


def holes(path: Path, start: bytes, size: int) -> None:
    """Write a file of ``size`` bytes that takes none but ``start`` on the disk."""
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)


def zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", pickle.dumps({}, 2))
        file.writestr("archive/data/0", bytes(64 << 20))


def header(values: dict) -> bytes:
    text = json.dumps(values).encode()
    return struct.pack("<Q", len(text)) + text


def bomb_of_names(count: int) -> bytes:
    """Many names and the last one twice: looking each one up in a list takes hours."""
    return b"{" + b",".join(b'"%x":0' % i for i in range(count)) + b',"0":0}'


TERABYTE = 1 << 40
CASES = {
    "zip bomb": ("weights", "pytorch_model.bin", zip_bomb, "must not be compressed"),
    "weights of a terabyte of holes": (
        "weights",
        "model.safetensors",
        lambda path: holes(
            path,
            header({"a": {"dtype": "U8", "shape": [TERABYTE - 73], "data_offsets": [0, 1]}}),
            TERABYTE,
        ),
        "must fit into memory; reading it takes 1100 GB",
    ),
    "header that claims terabytes": (
        "weights",
        "model.safetensors",
        lambda path: path.write_bytes(struct.pack("<Q", TERABYTE) + b"{}"),
        "its header takes 1099511627776 bytes",
    ),
    "pickle of a terabyte": (
        "weights",
        "model_state.pdparams",
        lambda path: path.write_bytes(b"\x80\x04\x8e" + struct.pack("<Q", TERABYTE) + b"x."),
        "1099511627776 bytes are announced where 2 are left",
    ),
    "pickle nested a million deep": (
        "weights",
        "model_state.pdparams",
        lambda path: path.write_bytes(b"\x80\x04" + b"]" * 400_000 + b"a" * 399_999 + b"."),
        "must hold named arrays; got a list",
    ),
    "rows of a terabyte of holes": (
        "rows",
        "data.tsv",
        lambda path: holes(path, b"text\tlabel\n", TERABYTE),
        "data file .* must fit into memory",
    ),
    "pipe that never ends": ("rows", "data.tsv", os.mkfifo, "got .*, a pipe or device"),
    "config that is a pipe": ("config", "config.json", os.mkfifo, "it has neither"),
    "names that stand twice": (
        "config",
        "config.json",
        lambda path: path.write_bytes(bomb_of_names(300_000)),
        "the name '0' stands twice",
    ),
    "config nested deep": (
        "config",
        "config.json",
        lambda path: path.write_bytes(b'{"a":' * 1_000_000),
        "is not valid JSON",
    ),
    "vocabulary with a hole": (
        "tokenizer",
        "tokenizer.json",
        lambda path: path.write_text(tokenizer_json(path.parent, {"far": 2**31})),
        "must number tokens below 4194304; got 2147483648",
    ),
    "aliases that unfold": (
        "settings",
        "train_config.yaml",
        lambda path: path.write_text(
            "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(99))
        ),
        "anchors",
    ),
    "settings nested deep": (
        "settings",
        "train_config.yaml",
        lambda path: path.write_text("[" * 65_000),
        "nested 3 deep",
    ),
}


def tokenizer_json(folder: Path, more: dict[str, int], **changes: object) -> str:
    """Give the tokenizer of the tiny vocabulary with more tokens."""
    tiny_tokenizer(folder).save(folder)
    values = json.loads((folder / "tokenizer.json").read_text())
    values["model"]["vocab"].update(more)
    return json.dumps({**values, **changes})


@pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc of Linux")
def test_each_is_refused_in_bounded_memory_and_time(tmp_path):
    lines = []
    for number, (reader, name, write, _) in enumerate(CASES.values()):
        path = tmp_path / str(number) / name
        path.parent.mkdir()
        write(path)
        lines.append(f"{reader}\t{path}\n")
    child = subprocess.run(
        [sys.executable, "-c", CHILD.format(memory=MEMORY_BYTES, seconds=SECONDS)],
        input="".join(lines),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=20 * SECONDS,
    )
    answers = child.stdout.splitlines()
    assert child.returncode == 0, child.stderr
    assert len(answers) == len(CASES), child.stdout
    for (case, (_, _, _, message)), answer in zip(CASES.items(), answers, strict=True):
        assert answer.startswith("refused: "), f"{case}: {answer}"
        assert re.search(message, answer), f"{case}: {answer}"


def test_the_limits_hold_what_is_no_bomb():
    """The child of the test above does fail where something takes more than it may."""
    code = CHILD.format(memory=MEMORY_BYTES, seconds=SECONDS) + "\nbytes(1 << 30)\n"
    child = subprocess.run(
        [sys.executable, "-c", code], input="", capture_output=True, text=True, cwd=ROOT
    )
    assert child.returncode == 1
    assert "MemoryError" in child.stderr


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    save_model(tiny_model(CONFIG), folder, tiny_tokenizer(folder))
    return folder


LINKED = ("config.json", "model.safetensors", "vocab.txt", "tokenizer.json")


@pytest.mark.parametrize("name", LINKED)
def test_a_link_out_of_the_directory_is_refused(model, tmp_path, name):
    outside = tmp_path / "outside"
    (model / name).rename(outside)
    (model / name).symlink_to("../outside")
    if name == "vocab.txt":
        (model / "tokenizer.json").unlink()
    load = load_tokenizer if name in ("vocab.txt", "tokenizer.json") else load_model
    with pytest.raises(InputError, match=rf"{name} must be a file of its directory; it is a link"):
        load(model)


def test_a_link_within_the_directory_is_followed(model):
    (model / "config.json").rename(model / "other.json")
    (model / "config.json").symlink_to("other.json")
    assert load_model(model).config == CONFIG


def test_the_hugging_face_cache_is_made_of_links(model, tmp_path):
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "1a2b", tmp_path / "hub" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in model.iterdir():
        path.rename(blobs / f"sum_of_{path.name}")
        (snapshot / path.name).symlink_to(f"../../blobs/sum_of_{path.name}")
    assert load_model(snapshot).config == CONFIG
    load_tokenizer(snapshot)
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to("../../../elsewhere")
    (tmp_path / "elsewhere").write_text("{}")
    with pytest.raises(InputError, match="it is a link out of it"):
        read_model_config(snapshot)


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "archive/../../evil", "a\\..\\evil"])
def test_path_names_in_an_archive_are_refused(tmp_path, name):
    storage = {"w": tensor(Storage("FloatStorage", "0", 3), 0, (3,), (1,))}
    path = archive(tmp_path / "pytorch_model.bin", storage, {"0": bytes(12)})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, b"x")
    with pytest.raises(InputError, match="must hold plain names; got the entry"):
        read_weights(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_stands_twice_is_refused(tmp_path):
    storage = {"w": tensor(Storage("FloatStorage", "0", 3), 0, (3,), (1,))}
    path = archive(tmp_path / "pytorch_model.bin", storage, {"0": bytes(12)})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("archive/data/0", b"x" * 12)
    with pytest.raises(InputError, match="must hold each of its entries once"):
        read_weights(path)


def test_arrays_that_share_their_numbers_do_not_fill_the_memory(tmp_path):
    numbers = np.zeros(1000, "float32")
    shared = Storage("FloatStorage", "0", 1000)
    views = {f"LayerNorm.{i}": tensor(shared, 0, (1000,), (1,)) for i in range(20)}
    path = archive(tmp_path / "pytorch_model.bin", views, {"0": numbers.tobytes()})
    with pytest.raises(InputError, match=r"must unfold to at most 4 times the file.*take 80000$"):
        read_weights(path)
    path = tmp_path / "model_state.pdparams"
    path.write_bytes(pickle.dumps({f"layer_norm.{i}": numbers for i in range(20)}, 4))
    with pytest.raises(InputError, match=r"they would take 80000$"):
        read_weights(path)


def test_a_config_cannot_ask_for_a_terabyte_of_fresh_weights(model):
    arrays = load_file(model / "model.safetensors")
    kept = {name: a for name, a in arrays.items() if not name.startswith("classifier.")}
    save_file(kept, model / "model.safetensors")
    values = json.loads((model / "config.json").read_text())
    values.update(num_classes=2**31, labels=[])
    (model / "config.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"must hold most of the model; .* asks for 27917287424 "):
        load_model(model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+b"}, "content": ""}},
            r"must hold no pattern but ours; got '\(a\+\)\+b'",
        ),
        (
            {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "x*x*y"}}},
            "must hold no pattern but ours",
        ),
        (
            {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
            "must hold no pattern but ours; got 'AAAA'",
        ),
    ],
)
def test_patterns_of_a_tokenizer_are_not_run(tmp_path, changes, message):
    text = tokenizer_json(tmp_path, {}, **changes)
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(InputError, match=message):
        load_tokenizer(tmp_path)


def test_words_of_a_tokenizer_are_of_bounded_length(tmp_path):
    values = json.loads(tokenizer_json(tmp_path, {}))
    values["model"]["max_input_chars_per_word"] = 10**6
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="must take words of at most 1000; got 1000000"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("label", ["a\nb", "\x1b]0;title\x07", "a\u2028b", "\ud800"])
def test_a_label_that_moves_the_cursor_is_refused(model, tmp_path, label):
    values = json.loads((model / "config.json").read_text())
    values["labels"][1] = label
    (model / "config.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="labels must be texts of one line; got "):
        load_model(model)
    row = json.dumps({"text": "x", "label": label})
    (tmp_path / "rows.jsonl").write_text(f"{row}\n{row}\n")
    with pytest.raises(InputError, match="line 1: label must hold a label of one line; got "):
        read_examples(tmp_path / "rows.jsonl", Columns(("text",), "label"))


def test_hostile_names_do_nothing_in_a_model_card():
    markdown_it = pytest.importorskip("markdown_it")
    config = tiny_config(labels=("<script>x</script>", "a | b", "[c](javascript:d)"))
    config = dataclasses.replace(config, task_name="# <img src=x onerror=y>")
    facts = CardFacts("--> <b>source</b>", {"<i>accuracy</i>": 0.5}, 0.5, 1.0)
    subnet = full_subnet(config)
    card = model_card(config, subnet, 1.0, facts, max_seq_length=8, file_bytes=1, parity="same")
    parser = markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table")
    page = parser.render(card)
    kinds = set(re.findall(r"<(\w+)", page))
    assert kinds == {"h1", "h2", "p", "pre", "code", "table", "thead", "tbody", "tr", "th", "td"}
    for name in (*config.labels, config.task_name, facts.source, "<i>accuracy</i>"):
        assert html.escape(name, quote=False) in page


def test_text_of_data_is_no_terminal_command(model, tmp_path):
    rows = tmp_path / "rows.tsv"
    rows.write_text("text\tlabel\nx\ta\ny\t\x1b]0;owned\x07\n")
    child = subprocess.run(
        [
            *(sys.executable, "-m", "ofa_bert", "evaluate"),
            *flags(model_name_or_path=model, dev_file=rows),
            *flags(text_columns="text", label_column="label"),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert child.returncode == 2
    assert child.stderr.strip().isprintable()
    assert r"\x1b]0;owned\x07" in child.stderr
