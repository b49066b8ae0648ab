"""Weights of a network and of its converted form, which has ``.fn`` in its names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paddle import nn

from ofa_bert.ofa.kernels import compute_start_end
from ofa_bert.rules import require


def plain_name(name: str) -> str:
    """Give a parameter's name in the network before it was converted."""
    *path, parameter = name.split(".")
    return ".".join([*path[:-1], parameter]) if path and path[-1] == "fn" else name


def set_state_dict(model: nn.Layer, state_dict: Mapping[str, Any]) -> None:
    """Give a converted network the weights of the original one.

    ``Convert`` does so itself; this is for weights read later. Where a parameter is larger than the
    original's, its start is set (of a kernel, the centre) and the rest left.

    Args:
        model: the converted network.
        state_dict: of the original network, or of a converted one; what is not in it stays.

    Raises:
        InputError: if a weight is larger than the network's, or none is the network's.
    """
    own = model.state_dict()
    given = {
        name: state_dict[name if name in state_dict else plain_name(name)]
        for name in own
        if name in state_dict or plain_name(name) in state_dict
    }
    require(
        bool(given) or not own,
        f"state_dict must hold weights of this network, e.g. {plain_name(next(iter(own), ''))!r}; "
        f"got {list(state_dict)[:3]}",
    )
    for name, value in given.items():
        fits = len(value.shape) == len(own[name].shape) and all(
            size <= whole for size, whole in zip(value.shape, own[name].shape, strict=True)
        )
        require(
            fits,
            f"{name} is {list(own[name].shape)} in the supernet; got {list(value.shape)}; "
            "convert a network of that size",
        )
    for name, value in given.items():
        _set_start(own[name], value)


def remove_model_fn(model: nn.Layer, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Name the weights of a converted network as in the original one.

    Args:
        model: the original network.
        state_dict: of the converted one.

    Returns:
        The weights that ``model`` has too.
    """
    own = set(model.state_dict())
    named = {name if name in own else plain_name(name): p for name, p in state_dict.items()}
    return {name: parameter for name, parameter in named.items() if name in own}


def _set_start(parameter: Any, value: Any) -> None:
    array = value.numpy() if hasattr(value, "numpy") else value
    if list(parameter.shape) == list(array.shape):
        parameter.set_value(array)
        return
    whole = parameter.numpy()
    slices = [slice(size) for size in array.shape[:2]]
    for size, wide in zip(array.shape[2:], whole.shape[2:], strict=True):
        slices.append(slice(*compute_start_end(wide, size)))
    whole[tuple(slices)] = array
    parameter.set_value(whole)
