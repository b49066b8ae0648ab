"""A static graph from strangers, looked through before Paddle Inference is given it.

A graph is a program: Paddle has operations that read and write files, it looks rows up in a table
without asking how many there are, and it reserves the memory that a file of weights claims.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ofa_bert.checkpoint.files import read_json, reason
from ofa_bert.deploy import EXPORT_HINT, DeployInfo
from ofa_bert.errors import InputError
from ofa_bert.safe_text import short

PARAMETER = "p"
# "1." is how the file abbreviates paddle's own operations, "0." those of its compiler.
COMPUTING = """
0.combine 0.split 1.abs 1.add 1.add_n 1.arange 1.assign 1.assign_value_ 1.cast 1.clip 1.concat
1.cos 1.cumsum 1.data 1.dequantize_linear 1.divide 1.dropout 1.einsum 1.embedding 1.equal 1.erf
1.exp 1.expand 1.expand_as 1.feed 1.fetch 1.flatten 1.floor_divide 1.full 1.full_int_array
1.full_like 1.full_with_tensor 1.gather 1.gather_nd 1.gelu 1.greater_equal 1.greater_than
1.index_select 1.layer_norm 1.less_equal 1.less_than 1.log 1.log_softmax 1.logical_and
1.logical_not 1.logical_or 1.matmul 1.max 1.maximum 1.mean 1.min 1.minimum 1.multiply
1.not_equal 1.ones_like 1.pow 1.quantize_linear 1.relu 1.reshape 1.rsqrt 1.scale
1.scaled_dot_product_attention 1.shape 1.shape64 1.sigmoid 1.silu 1.sin 1.slice 1.softmax
1.split 1.split_with_num 1.sqrt 1.squeeze 1.stack 1.strided_slice 1.subtract 1.sum 1.swish
1.take_along_axis 1.tanh 1.tile 1.transpose 1.tril 1.triu 1.unsqueeze 1.unstack 1.where
1.zeros_like
"""
OPERATIONS = frozenset(COMPUTING.split())
"""Operations that compute numbers from numbers, and nothing else."""

TENSOR_START = struct.Struct("<IQIi")
"""Of a tensor in ``model.pdiparams``: its version, levels of its lengths, its version as a dense
tensor, and how long the description is that follows (paddle's SerializeToStream)."""
ITEM_BYTES = {0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2}
"""Size of a number by its dtype in that description (VarType.Type of framework.proto)."""
MAX_DESCRIPTION_BYTES = 200


def check_params(path: Path) -> None:
    """Refuse weights that claim more numbers than their file has.

    Args:
        path: ``model.pdiparams``: tensors one after the other, each with a description.

    Raises:
        InputError: if the tensors do not fill the file exactly.
    """
    try:
        with path.open("rb") as file:
            size, end = path.stat().st_size, 0
            while end < size:
                end += _tensor_bytes(file, end)
            if end != size:
                raise ValueError(f"they claim {end} bytes, and the file has {size}")
    except (OSError, ValueError, KeyError, IndexError, struct.error) as error:
        raise InputError(
            f"static graph weights {path} are damaged or cut short: {reason(error)}; {EXPORT_HINT}"
        ) from None


def _tensor_bytes(file: BinaryIO, start: int) -> int:
    """Give how many bytes the tensor at ``start`` takes by its own account."""
    file.seek(start)
    version, levels, dense_version, length = TENSOR_START.unpack(file.read(TENSOR_START.size))
    if (version, levels, dense_version) != (0, 0, 0) or not 0 < length <= MAX_DESCRIPTION_BYTES:
        raise ValueError("a tensor begins otherwise than an export writes it")
    fields = list(_fields(file.read(length)))
    (dtype,) = (value for number, value in fields if number == 1)
    count = math.prod(value for number, value in fields if number == 2)
    return TENSOR_START.size + length + count * ITEM_BYTES[dtype]


def _fields(description: bytes) -> Iterator[tuple[int, int]]:
    """Read a protobuf of whole numbers: the number of each field, and its value."""
    numbers, value, shift = [], 0, 0
    for byte in description:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(value)
            value, shift = 0, 0
    for tag, number in zip(numbers[::2], numbers[1::2], strict=True):
        if tag & 7 != 0:
            raise ValueError("a description holds more than whole numbers")
        yield tag >> 3, number


def check_graph(path: Path, info: DeployInfo) -> None:
    """Refuse a graph that does more than compute, or whose tables are not as large as it is said.

    Args:
        path: the program, ``model.json``.
        info: what ``deploy.json`` beside it says.

    Raises:
        InputError: naming the operation or the sizes; or if the file is no graph.
    """
    program = read_json(path, "static graph")
    try:
        operations = list(_operations(program))
        rows = _embedding_rows(operations)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise InputError(
            f"static graph {path} cannot be loaded by Paddle Inference: it is no program "
            f"({type(error).__name__}); {EXPORT_HINT}"
        ) from None
    for operation in operations:
        if operation["#"] not in OPERATIONS and operation["#"] != PARAMETER:
            raise InputError(
                f"static graph {path} is refused: it asks for {short(operation['#'])}, which is "
                f"none of the operations that only compute; {EXPORT_HINT}"
            )
    said = [info.vocab_size, info.max_position_embeddings, info.type_vocab_size]
    # Only of a BERT do we know that it has these three tables.
    fits = sorted(rows) == sorted(said) if len(rows) == len(said) else set(said) <= set(rows)
    if not fits:
        raise InputError(
            f"static graph {path} must have tables of {said} rows, as deploy.json says; got "
            f"{short(rows)}; {EXPORT_HINT}"
        )


def _operations(program: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the operations of the one block; one within another is none we know."""
    (region,) = program["program"]["regions"]
    (block,) = region["blocks"]
    for operation in block["ops"]:
        if not isinstance(operation["#"], str) or "regions" in operation:
            raise ValueError("an operation holds others")
        yield operation


def _embedding_rows(operations: list[dict[str, Any]]) -> list[int]:
    """Give the row counts of the parameters that ids are looked up in."""
    shapes = {op["O"]["%"]: op["O"]["TT"]["D"][1] for op in operations if op["#"] == PARAMETER}
    return [shapes[op["I"][1]["%"]][0] for op in operations if op["#"] == "1.embedding"]
