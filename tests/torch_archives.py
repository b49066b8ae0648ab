"""Archives built by hand as torch.save builds them, without torch."""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any


class Named:
    """Pickles as the name of a class or function that need not be installed here."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def write(self) -> bytes:
        return f"c{self.module}\n{self.name}\n".encode()


class Storage:
    """Pickles as a persistent id, as torch's storages do."""

    def __init__(self, kind: str, key: str, count: int) -> None:
        self.pid = ("storage", Named("torch", kind), key, "cpu", count)


class Call:
    """Pickles as a call."""

    def __init__(self, module: str, name: str, *args: Any) -> None:
        self.function, self.args = Named(module, name), args


class TorchPickler(pickle._Pickler):
    """Writes the three classes above, which the usual pickler cannot."""

    def save(self, value: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(value, Named):
            self.write(value.write())
        elif isinstance(value, Call):
            self.save(value.function)
            self.save(value.args)
            self.write(pickle.REDUCE)
        elif isinstance(value, Storage):
            self.save(value.pid)
            self.write(pickle.BINPERSID)
        else:
            super().save(value, *args, **kwargs)


def tensor(storage: Storage, offset: int, sizes: tuple, strides: tuple) -> Call:
    hooks = collections.OrderedDict()
    return Call("torch._utils", "_rebuild_tensor_v2", storage, offset, sizes, strides, False, hooks)


def archive(
    path: Path,
    values: Any,
    storages: dict[str, bytes],
    compression: int = zipfile.ZIP_STORED,
    order: bytes = b"little",
) -> Path:
    content = io.BytesIO()
    TorchPickler(content, 2).dump(values)
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", content.getvalue())
        file.writestr("archive/byteorder", order)
        for key, data in storages.items():
            file.writestr(f"archive/data/{key}", data)
        file.writestr("archive/version", b"3\n")
    return path
