"""Find the weights of a checkpoint, read them, and check that they fit the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from ofa_bert.checkpoint.files import check_fits_memory, check_own_file, reason, short
from ofa_bert.checkpoint.names import Shape, family_of, target_of
from ofa_bert.checkpoint.safe_pickle import read_pdparams
from ofa_bert.checkpoint.safetensors_file import read_safetensors
from ofa_bert.checkpoint.torch_file import read_torch
from ofa_bert.errors import InputError

READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    "model.safetensors": read_safetensors,
    "model_state.pdparams": read_pdparams,
    "pytorch_model.bin": read_torch,
}
"""Files of weights by name; the first one present is read."""

MAX_NAMED = 8
MAX_UNFOLDING = 4
"""Embedding and output may be one array under two names, in bfloat16, which we widen."""


def find_weights(directory: Path) -> Path:
    """Find the file of weights in a checkpoint directory.

    Raises:
        InputError: if there is none, or the weights are split over several files.
    """
    for name in READERS:
        if (directory / name).is_file():
            check_own_file(directory / name, "weights")
            return directory / name
    for name in READERS:
        if (directory / f"{name}.index.json").is_file():
            raise InputError(
                f"weights in {directory} must be one file; got shards listed in {name}.index.json; "
                "save the model again with a larger max_shard_size"
            )
    raise InputError(
        f"model directory {directory} must hold one of {', '.join(READERS)}; it has none of them"
    )


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Read a file of weights under our names and in our layouts, whoever wrote it.

    Raises:
        InputError: if it cannot be read, or names no BERT.
    """
    suffixes = {Path(name).suffix: reader for name, reader in READERS.items()}
    try:
        check_fits_memory(path, "weights")
        arrays = suffixes[path.suffix](path)
        check_unfolding(arrays, path)
    except (OSError, MemoryError) as error:
        raise InputError(f"weights {path} cannot be read: {reason(error)}") from None
    family = family_of(arrays)
    ours: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        target = target_of(name, family)
        if target is None:
            continue
        if target.name in ours:
            raise InputError(f"weights {path} must hold {short(target.name)} once; got it twice")
        ours[target.name] = array.T if target.transposed else array
    return ours


def check_unfolding(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Refuse a small file whose arrays share their numbers so often that copies fill the memory.

    Raises:
        InputError: if the arrays together are larger than ``MAX_UNFOLDING`` files.
    """
    num_bytes, most = sum(a.nbytes for a in arrays.values()), path.stat().st_size * MAX_UNFOLDING
    if num_bytes > most:
        raise InputError(
            f"weights {path} must unfold to at most {MAX_UNFOLDING} times the file, {most} bytes; "
            f"they would take {num_bytes}"
        )


def fit(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, Shape], path: Path
) -> dict[str, np.ndarray]:
    """Check arrays against the parameters a model needs and make them float32.

    Args:
        arrays: by our names, in our layouts.
        shapes: the parameters wanted.
        path: the file they came from, for messages.

    Returns:
        One contiguous float32 array for each of ``shapes``.

    Raises:
        InputError: naming everything missing, unexpected, of another shape or dtype, all at once;
            or every parameter that holds NaN or infinity.
    """
    both = [name for name in shapes if name in arrays]
    problems = {
        "missing": [name for name in shapes if name not in arrays],
        "unexpected": [name for name in arrays if name not in shapes],
        "wrong shape": [
            f"{name} is {list(arrays[name].shape)}, must be {list(shapes[name])}"
            for name in both
            if arrays[name].shape != shapes[name]
        ],
        "wrong dtype": [
            f"{name} is {arrays[name].dtype}, must be a float"
            for name in both
            if arrays[name].dtype.kind != "f"
        ],
    }
    found = [f"{kind}: {_listed(names)}" for kind, names in problems.items() if names]
    if found:
        raise InputError(f"weights {path} do not fit the model config; {'; '.join(found)}")
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, reported below
        fitted = {name: np.ascontiguousarray(arrays[name], np.float32) for name in shapes}
    broken = [name for name, array in fitted.items() if not np.isfinite(array).all()]
    if broken:
        raise InputError(
            f"weights {path} must be finite numbers; got NaN or infinity in {_listed(broken)}"
        )
    return fitted


def _listed(names: Iterable[str]) -> str:
    """Join names, abbreviated: a wrong config can make hundreds of them."""
    names = [name[:200] if name.isprintable() else short(name) for name in names]
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
