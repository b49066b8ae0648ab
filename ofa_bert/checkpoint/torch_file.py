"""Read ``pytorch_model.bin`` without torch.

The file is a zip archive of uncompressed entries: ``<root>/data.pkl``, a pickle that builds the
state dict, and ``<root>/data/<key>``, the numbers of one storage each. A tensor is a view of a
storage: an offset, sizes and strides.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ofa_bert.checkpoint.files import reason, short
from ofa_bert.checkpoint.safe_pickle import (
    MAX_AXES,
    ArrayUnpickler,
    only_arrays,
    unpickle,
    widen_bfloat16,
)
from ofa_bert.errors import InputError

STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Read what ``torch.save`` wrote of a state dict.

    bfloat16 comes back as float32; arrays may be views that are not contiguous.

    Raises:
        InputError: if the file has the format before PyTorch 1.6, is damaged, compressed, or names
            a class or function other than those of tensors.
    """
    with path.open("rb") as file:
        start = file.read(len(LEGACY_MAGIC))
    if start == LEGACY_MAGIC:
        raise InputError(
            f"{path} has the format of PyTorch before 1.6, which is not read; convert it with: "
            "torch.save(torch.load('pytorch_model.bin', weights_only=True), 'pytorch_model.bin')"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            values = _Archive(archive, path).read()
    except InputError:
        raise
    except Exception as error:  # zipfile lets many kinds through on a damaged file
        raise InputError(
            f"{path} cannot be read, it is damaged or cut short ({reason(error)}); "
            "copy or download it again"
        ) from None
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold named tensors; got a {type(values).__name__}")
    return only_arrays(values, path)


class _Archive:
    """The entries of one file; none is unpacked to disk, none may be larger than the file."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self.archive = archive
        self.path = path
        # Entries may overlap, so that many large ones fit into a small file.
        self.bytes_left = path.stat().st_size
        _check_names(archive.namelist(), path)
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise InputError(
                f"{path} must hold one data.pkl, as torch.save writes; got {len(pickles)}"
            )
        self.root = pickles[0].removesuffix("data.pkl")
        self.storages: dict[str, np.ndarray] = {}

    def read(self) -> Any:
        if f"{self.root}byteorder" in self.archive.namelist():
            order = self.entry("byteorder")
            if order != b"little":
                raise InputError(f"{self.path}: byte order must be little; got {short(order)}")
        info = self.info("data.pkl")
        with self.archive.open(info) as file:
            return unpickle(file, info.file_size, self.path, _TensorUnpickler, self)  # type: ignore[arg-type]

    def info(self, name: str) -> zipfile.ZipInfo:
        try:
            info = self.archive.getinfo(self.root + name)
        except KeyError:
            raise InputError(f"{self.path} lacks its entry {short(name)}; copy it again") from None
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise InputError(
                f"{self.path}: entry {short(name)} must not be compressed; torch never does that"
            )
        self.bytes_left -= info.file_size
        if self.bytes_left < 0:
            raise InputError(f"{self.path} unfolds to more bytes than it has")
        return info

    def entry(self, name: str) -> bytes:
        return self.archive.read(self.info(name))

    def storage(self, kind: str, key: str, count: int) -> np.ndarray:
        """Give the ``count`` numbers of a storage as a flat array, reading it once."""
        if key not in self.storages:
            dtype = np.dtype("<u2" if kind == "bfloat16" else kind)
            data = self.entry(f"data/{key}")
            if count * dtype.itemsize != len(data):
                raise InputError(f"storage {short(key)} of {count} numbers has {len(data)} bytes")
            flat = np.frombuffer(data, dtype)
            self.storages[key] = widen_bfloat16(flat) if kind == "bfloat16" else flat
        return self.storages[key]


def _check_names(names: list[str], path: Path) -> None:
    """Refuse names that would lead out of a directory, though we unpack nothing to disk."""
    if len(set(names)) < len(names):
        raise InputError(f"{path} must hold each of its entries once; one of them stands twice")
    for name in names:
        if name.startswith("/") or "\\" in name or ".." in name.split("/"):
            raise InputError(f"{path} must hold plain names; got the entry {short(name)}")


class _TensorUnpickler(ArrayUnpickler):
    """Adds tensors to what a pickle may hold."""

    def __init__(self, file: Any, num_bytes: int, archive: _Archive) -> None:
        super().__init__(file, num_bytes)
        self.archive = archive
        self.makers["torch._utils", "_rebuild_tensor_v2"] = _tensor
        self.makers["torch._utils", "_rebuild_tensor"] = _tensor
        self.makers["torch._utils", "_rebuild_parameter"] = _parameter
        for name, kind in STORAGES.items():
            self.makers["torch", name] = _StorageKind(kind)

    def persistent_load(self, pid: Any) -> np.ndarray:
        """Give the storage that the pickle refers to."""
        _, kind, key, _, count = pid
        if not isinstance(kind, _StorageKind) or not isinstance(key, str):
            raise InputError("it refers to something other than a storage of numbers")
        return self.archive.storage(kind.dtype, key, count)


class _StorageKind:
    """A storage class of torch, which only tells a dtype and is never called."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def __call__(self, *_: object) -> None:
        raise InputError("it makes a storage outside its archive")


def _tensor(
    storage: np.ndarray, offset: int, sizes: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> np.ndarray:
    """View a flat storage as a tensor, after checking that it stays inside."""
    if not isinstance(storage, np.ndarray) or len(sizes) != len(strides) or len(sizes) > MAX_AXES:
        raise InputError(f"it has a tensor of sizes {short(sizes)} and strides {short(strides)}")
    count = math.prod(sizes)
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if min((offset, *sizes, *strides)) < 0 or count > storage.size:
        raise InputError(f"it has a tensor of sizes {short(sizes)} on {storage.size} numbers")
    if count and last >= storage.size:
        raise InputError(f"it has a tensor that ends at {last} of {storage.size} numbers")
    if not count:
        return np.empty(sizes, storage.dtype)
    steps = tuple(stride * storage.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(storage[offset:], sizes, steps, writeable=False)


def _parameter(data: np.ndarray, *_: object) -> np.ndarray:
    return data
