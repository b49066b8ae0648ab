"""A graph that does more than compute is refused before Paddle Inference sees it."""

from __future__ import annotations

import dataclasses
import json
import struct

import pytest

from ofa_bert.deploy import DeployInfo
from ofa_bert.errors import InputError
from ofa_bert.predictor import Predictor, read_deploy_info
from ofa_bert.safe_graph import check_graph, check_params
from tests.data.make_golden import GOLDEN

STATIC = GOLDEN / "static"


@pytest.fixture
def info():
    return read_deploy_info(STATIC)


def graph(folder, change):
    """Write the golden graph with its operations changed."""
    program = json.loads((STATIC / "model.json").read_text())
    change(program["program"]["regions"][0]["blocks"][0]["ops"])
    (folder / "model.json").write_text(json.dumps(program))
    return folder / "model.json"


def test_an_exported_graph_is_taken(info):
    check_graph(STATIC / "model.json", info)


@pytest.mark.parametrize(
    "name", ["1.read_file", "1.save_combine", "1.py_func", "2.if", "3.custom", "1.print"]
)
def test_an_operation_that_does_more_is_refused(tmp_path, info, name):
    path = graph(tmp_path, lambda ops: ops.append({"#": name, "A": [], "I": [], "O": []}))
    with pytest.raises(InputError, match=f"is refused: it asks for '{name}', which is none of"):
        check_graph(path, info)


def test_operations_within_an_operation_are_refused(tmp_path, info):
    path = graph(tmp_path, lambda ops: ops[-1].update(regions=[]))
    with pytest.raises(InputError, match=r"cannot be loaded .* it is no program \(ValueError\)"):
        check_graph(path, info)


@pytest.mark.parametrize("name", ["vocab_size", "max_position_embeddings", "type_vocab_size"])
def test_tables_are_as_large_as_it_is_said(info, name):
    # Ids up to what is said would be looked up past the end of the table.
    said = dataclasses.replace(info, **{name: 10**6})
    with pytest.raises(InputError, match=r"must have tables of \[.*1000000.*\] rows, as deploy"):
        check_graph(STATIC / "model.json", said)


@pytest.mark.parametrize("program", [{}, {"program": {"regions": []}}, {"program": 3}])
def test_what_is_no_program_is_refused(tmp_path, info, program):
    (tmp_path / "model.json").write_text(json.dumps(program))
    with pytest.raises(InputError, match="cannot be loaded by Paddle Inference: it is no program"):
        check_graph(tmp_path / "model.json", info)


def copy(folder, **changes):
    for path in STATIC.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    values = json.loads((folder / "deploy.json").read_text())
    (folder / "deploy.json").write_text(json.dumps({**values, **changes}))
    return folder


def test_labels_are_as_many_as_the_graph_has_logits(tmp_path):
    predictor = Predictor(copy(tmp_path, labels=["a", "b"]))
    with pytest.raises(InputError, match=r"must give \[1, 2\] logits; got \[1, 3\]"):
        predictor.predict(["w1"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": "abc"}, "labels must be a list of texts of one line; got 'abc'"),
        ({"labels": ["a\x1b[2J"]}, "labels must be a list of texts of one line"),
        ({"is_regression": 1}, "is_regression must be true or false; got 1"),
        ({"max_seq_length": "16"}, "max_seq_length must be a whole number from 1 .*; got '16'"),
        ({"vocab_size": True}, "vocab_size must be a whole number"),
        ({"vocab_size": 2**40}, "vocab_size must be a whole number from 1 to 2147483648"),
        ({"pad_token_id": -1}, "pad_token_id must be a token id; got -1"),
        ({"task_name": ["a"]}, r"task_name must be a text of one line or null; got \['a'\]"),
        ({"file_bytes": {"model.json": "88"}}, "file_bytes must be sizes by name"),
        ({"versions": 3}, "versions must be an object; got 3"),
    ],
)
def test_values_of_deploy_json_have_their_form(changes, message):
    values = json.loads((STATIC / "deploy.json").read_text())
    with pytest.raises(InputError, match=message):
        DeployInfo.from_dict({**values, **changes})


def test_a_linked_graph_is_refused(tmp_path):
    folder = tmp_path / "static"
    folder.mkdir()
    copy(folder)
    (folder / "model.pdiparams").rename(tmp_path / "elsewhere")
    (folder / "model.pdiparams").symlink_to("../elsewhere")
    with pytest.raises(InputError, match="must be a file of its directory; it is a link out of it"):
        Predictor(folder)


def described(dims: bytes) -> bytes:
    """Give the start of a float32 tensor (dtype 5) whose dimensions are varints."""
    fields = b"\x08\x05" + b"".join(b"\x10" + dim for dim in dims.split(b"|"))
    return struct.pack("<IQIi", 0, 0, 0, len(fields)) + fields


TERABYTES = b"\x80" * 5 + b"\x20"  # 2**40 as a varint: bit 5 of the sixth group of seven


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (described(TERABYTES) + bytes(8), "they claim 4398046511133 bytes, and the file has 37"),
        (described(b"\x02|\x03") + bytes(23), "they claim 50 bytes, and the file has 49"),
        (described(b"\x02") * 2, "requires a buffer of 20 bytes"),
        (b"\xff" * 100, "a tensor begins otherwise than an export writes it"),
        (bytes(10), "requires a buffer of 20 bytes"),
        (struct.pack("<IQIi", 0, 0, 0, 1 << 30), "a tensor begins otherwise"),
        (struct.pack("<IQIi", 0, 0, 0, 2) + b"\x0a\x05", "more than whole numbers"),
        (struct.pack("<IQIi", 0, 0, 0, 2) + b"\x08\x63", "99; write"),
    ],
)
def test_weights_claim_what_their_file_holds(tmp_path, content, message):
    (tmp_path / "model.pdiparams").write_bytes(content)
    with pytest.raises(InputError, match=f"are damaged or cut short: .*{message}"):
        check_params(tmp_path / "model.pdiparams")


def test_weights_of_an_export_and_of_a_hand_made_tensor_are_taken(tmp_path):
    check_params(STATIC / "model.pdiparams")
    (tmp_path / "w").write_bytes(described(b"\x02|\x03") + bytes(2 * 3 * 4))
    check_params(tmp_path / "w")
