"""Read ``.safetensors``, bfloat16 included, which NumPy and so the library's reader lack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors

from ofa_bert.checkpoint.files import parse_json, reason
from ofa_bert.checkpoint.safe_pickle import widen_bfloat16
from ofa_bert.errors import InputError

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}
MAX_HEADER_BYTES = 16 << 20
"""That of a BERT-large takes 50 kB."""
LENGTH_BYTES = 8  # the file starts with the length of its header, little-endian


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read every array; bfloat16 comes back as float32.

    Raises:
        InputError: if the file is damaged, cut short, or holds dtypes other than plain numbers.
    """
    try:
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(LENGTH_BYTES), "little")
            if header_bytes > MAX_HEADER_BYTES:
                raise ValueError(f"its header takes {header_bytes} bytes")
            # The library checks that the arrays fill the file exactly.
            with safetensors.safe_open(path, framework="np"):
                pass
            header = parse_json(file.read(header_bytes).decode(), f"header of {path}")
            header.pop("__metadata__", None)
            start = LENGTH_BYTES + header_bytes
            arrays = {}
            for name, entry in header.items():
                begin, end = entry["data_offsets"]
                file.seek(start + begin)
                arrays[name] = _array(file.read(end - begin), entry["dtype"], entry["shape"])
    except InputError:
        raise
    except Exception as error:  # the library's own class of errors is not a public one
        raise InputError(
            f"{path} cannot be read, it is damaged or cut short ({reason(error)}); "
            "copy or download it again"
        ) from None
    return arrays


def _array(data: bytes, dtype: str, shape: list[int]) -> np.ndarray:
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype} is none of {', '.join(DTYPES)}")
    array = np.frombuffer(data, DTYPES[dtype]).reshape(shape)
    return widen_bfloat16(array) if dtype == "BF16" else array
