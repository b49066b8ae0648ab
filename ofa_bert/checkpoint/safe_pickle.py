"""Weights read from a pickle without running what the pickle asks for.

A pickle is a program for a small stack machine. Of its instructions we take only those that build
numbers, texts, containers and arrays, and of the functions it may name only those in a short
table, each mapped to code of ours: no function of another module is ever called.

The machine is the standard library's one in Python. Its C twin reserves memory for any index and
length the file claims.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from ofa_bert.checkpoint.files import reason, short
from ofa_bert.errors import InputError

SLICES_KEY = "UnpackBigParamInfor@@"  # paddle's spelling
DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")

INSTRUCTIONS = [
    "PROTO",
    "FRAME",
    "STOP",
    "MARK",
    "NONE",
    "NEWTRUE",
    "NEWFALSE",
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BINFLOAT",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
    "BINSTRING",
    "SHORT_BINSTRING",
    "BINBYTES",
    "SHORT_BINBYTES",
    "BINBYTES8",
    "EMPTY_TUPLE",
    "TUPLE",
    "TUPLE1",
    "TUPLE2",
    "TUPLE3",
    "EMPTY_LIST",
    "APPEND",
    "APPENDS",
    "EMPTY_DICT",
    "SETITEM",
    "SETITEMS",
    "BINGET",
    "LONG_BINGET",
    "BINPUT",
    "LONG_BINPUT",
    "MEMOIZE",
    "GLOBAL",
    "STACK_GLOBAL",
    "REDUCE",
    "BUILD",
    "BINPERSID",
]
MAX_STEPS = 1_000_000
"""Most instructions of one file; a parameter takes about thirty."""
MAX_AXES = 8


def read_pdparams(path: Path) -> dict[str, np.ndarray]:
    """Read what ``paddle.save`` wrote of a state dict.

    bfloat16, which paddle stores as uint16, comes back as float32.

    Raises:
        InputError: if the file names a class or function other than those of arrays, is truncated
            or holds something other than named arrays.
    """
    with path.open("rb") as file:
        values = unpickle(file, path.stat().st_size, path, ArrayUnpickler)
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold named arrays; got a {type(values).__name__}")
    try:
        _join_slices(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: its split arrays do not fit together: {reason(error)}") from None
    arrays = {name: _array_of(value) for name, value in values.items()}
    return only_arrays(arrays, path)


def only_arrays(values: dict[str, Any], where: Path) -> dict[str, np.ndarray]:
    """Leave out what is no array, such as version numbers.

    Raises:
        InputError: if nothing is left.
    """
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    if not arrays:
        raise InputError(f"{where} must hold named arrays; got only {short(list(values))}")
    return arrays


def unpickle(
    file: BinaryIO, num_bytes: int, where: Path, machine: type[ArrayUnpickler], *args: Any
) -> Any:
    """Run ``machine`` on a file of ``num_bytes``; ``where`` is its name in messages.

    Raises:
        InputError: for whatever goes wrong.
    """
    try:
        return machine(_Bounded(file, num_bytes), num_bytes, *args).load()
    except InputError as error:
        raise InputError(f"{where} is refused: {error}") from None
    except Exception as error:  # a hostile file can make any instruction fail in any way
        raise InputError(
            f"{where} cannot be read, it is damaged or cut short "
            f"({type(error).__name__}: {reason(error)}); copy or download it again"
        ) from None


def widen_bfloat16(halves: np.ndarray) -> np.ndarray:
    """Turn the bits of bfloat16, held as uint16, into float32: they are its upper half."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


class _Bounded:
    """A file that is never asked for more than it has left, whatever a length in it claims."""

    def __init__(self, file: BinaryIO, num_bytes: int) -> None:
        self.file = file
        self.num_bytes = num_bytes

    def read(self, size: int) -> bytes:
        left = self.num_bytes - self.file.tell()
        if size > left:
            raise EOFError(f"{size} bytes are announced where {left} are left")
        return self.file.read(size)

    def readline(self) -> bytes:
        return self.file.readline(1000)  # holds the name of a module or class


class _Instructions(dict):
    """The instructions admitted, by code; counts how many were carried out."""

    steps = 0

    def __getitem__(self, code: int) -> Any:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise InputError(f"it has more than {MAX_STEPS} instructions")
        return super().__getitem__(code)

    def __missing__(self, code: int) -> Any:
        raise InputError(f"instruction {code:#04x} does not belong in a file of weights")


class _DType:
    """A NumPy dtype being unpickled."""

    def __init__(self, name: object = "", *_: object) -> None:
        if name not in DTYPES:
            raise InputError(f"dtype {short(name)} must be a plain number")
        self.value = np.dtype(str(name))

    def build(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise InputError(f"byte order {short(state[1])} is unknown")
        self.value = self.value.newbyteorder(state[1])


class _Array:
    """A NumPy array being unpickled; it never reserves more than the bytes it was given."""

    def __init__(self, *_: object) -> None:
        self.value: np.ndarray | None = None

    def build(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        data = data.encode("latin1") if isinstance(data, str) else data
        if len(shape) > MAX_AXES or math.prod(shape) * dtype.value.itemsize != len(data):
            raise InputError(f"an array of shape {short(shape)} does not hold {len(data)} bytes")
        flat = np.frombuffer(data, dtype.value)
        self.value = flat.reshape(shape, order="F" if is_fortran else "C")


class _Dict(dict):
    """An OrderedDict; attributes set on it, as torch does, are dropped."""

    def build(self, state: object) -> None:
        pass


class ArrayUnpickler(pickle._Unpickler):  # type: ignore[misc,unused-ignore]
    """The stack machine of pickle, cut down to building named arrays."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        code: pickle._Unpickler.dispatch[code]
        for code in (getattr(pickle, name)[0] for name in INSTRUCTIONS)
    }

    def __init__(self, file: _Bounded, num_bytes: int) -> None:
        super().__init__(file, encoding="latin1")  # type: ignore[arg-type,unused-ignore]
        self.dispatch = _Instructions(type(self).dispatch)  # type: ignore[misc,unused-ignore]
        # Encoding one remembered text again and again must not multiply the file.
        self.bytes_left = num_bytes
        self.makers: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): _ordered_dict,
            ("builtins", "tuple"): _short_tuple,
            ("builtins", "bytes"): _no_bytes,
            ("_codecs", "encode"): self.encode,
            ("numpy", "dtype"): _DType,
            ("numpy", "ndarray"): _Array,
        }
        for core in ("numpy.core", "numpy._core"):
            self.makers[f"{core}.multiarray", "_reconstruct"] = _Array
            self.makers[f"{core}.multiarray", "scalar"] = _scalar

    def find_class(self, module: str, name: str) -> Any:
        """Give our stand-in for a class or function of the file.

        Raises:
            InputError: if there is none.
        """
        module = {"__builtin__": "builtins"}.get(module, module)
        if (module, name) not in self.makers:
            raise InputError(
                f"it asks for {short(f'{module}.{name}')}, and a file of weights must hold only "
                "arrays; open it with no other tool unless you trust where it comes from"
            )
        return self.makers[module, name]

    def encode(self, text: str, encoding: str) -> bytes:
        """Give the bytes that pickles before protocol 3 write as text."""
        if encoding != "latin1":
            raise InputError(f"text encoding must be latin1; got {short(encoding)}")
        self.bytes_left -= len(text)
        if self.bytes_left < 0:
            raise InputError("it unfolds to more bytes than it has")
        return text.encode(encoding)

    def load_build(self) -> None:
        """Give an object its state, if it is one of ours that takes one."""
        state = self.stack.pop()  # type: ignore[attr-defined,unused-ignore]
        target = self.stack[-1]  # type: ignore[attr-defined,unused-ignore]
        if not isinstance(target, _DType | _Array | _Dict):
            raise InputError(f"it sets the state of a {type(target).__name__}")
        target.build(state)

    def load_setitem(self) -> None:
        """Add one entry to a dict."""
        value = self.stack.pop()  # type: ignore[attr-defined,unused-ignore]
        key = self.stack.pop()  # type: ignore[attr-defined,unused-ignore]
        _add_entries(self.stack[-1], [key, value])  # type: ignore[attr-defined,unused-ignore]

    def load_setitems(self) -> None:
        """Add entries to a dict."""
        items = self.pop_mark()  # type: ignore[attr-defined,unused-ignore]
        _add_entries(self.stack[-1], items)  # type: ignore[attr-defined,unused-ignore]

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems


def _add_entries(target: Any, items: list[Any]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Hashing a tuple nested a million deep overflows the C stack; integers can be chosen to
        # collide.
        if not isinstance(target, dict) or not isinstance(key, str):
            raise InputError(f"it has a dict entry that is named by a {type(key).__name__}")
        if key in target:
            raise InputError(f"it holds the name {short(key)} twice")
        target[key] = value


def _ordered_dict(pairs: list[Any] | tuple[Any, ...] = ()) -> _Dict:
    made = _Dict()
    for key, value in pairs:
        _add_entries(made, [key, value])
    return made


def _short_tuple(items: Any) -> tuple[Any, ...]:
    if len(items) > 8:
        raise InputError(f"it copies a list of {len(items)} items; a named array has 2")
    return tuple(items)


def _no_bytes() -> bytes:
    return b""


def _scalar(dtype: _DType, data: bytes) -> _Array:
    scalar = _Array()
    scalar.build((1, (), dtype, False, data))
    return scalar


def _array_of(value: object) -> np.ndarray | None:
    """Find the array in an array or in a pair of paddle's parameter name and array."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        value = value[1]
    array = value.value if isinstance(value, _Array) else value
    if not isinstance(array, np.ndarray):
        return None
    # paddle has no uint16 tensors: this is how it writes bfloat16.
    return widen_bfloat16(array) if array.dtype == np.uint16 else array


def _join_slices(values: dict[str, Any]) -> None:
    """Put together arrays that paddle split because pickle protocol 2 ends at 4 GiB."""
    for name, parts in values.pop(SLICES_KEY, {}).items():
        flat = np.concatenate([values.pop(part).value for part in parts["slices"]])
        values[name] = flat.reshape(parts["OriginShape"])
