"""From the arguments of an elastic layer to a count of outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofa_bert.rules import require
from ofa_bert.subnet import kept_count

Candidates = dict[str, list[Any]]
"""What a layer may be: ``{"kernel_size": [3, 5], "expand_ratio": [0.5, 1.0]}``, ascending."""

KEYS = ("kernel_size", "expand_ratio", "channel")
WIDTH_KEYS = ("expand_ratio", "channel")


def sorted_candidates(candidates: Mapping[str, Sequence[Any]] | None) -> Candidates:
    """Copy the choices of a layer, each sorted and without repeats.

    Raises:
        InputError: if a key is none of ``KEYS``, or both kinds of width are given.
    """
    candidates = dict(candidates or {})
    for key in candidates:
        require(key in KEYS, f"candidate_config must have keys of {', '.join(KEYS)}; got {key!r}")
    require(
        not all(key in candidates for key in WIDTH_KEYS),
        "candidate_config must have expand_ratio or channel, not both; drop one of them",
    )
    return {key: sorted(set(values)) for key, values in candidates.items()}


def largest_ratio(candidates: Candidates) -> float:
    """Give the ratio that is the whole layer; the original layer is at ratio 1."""
    return max(candidates.get("expand_ratio", [1.0]))


def out_count(
    total: int,
    candidates: Candidates,
    expand_ratio: float | None,
    channel: int | None,
    multiple_of: int = 1,
) -> int:
    """Count the outputs that an elastic layer computes.

    Args:
        total: outputs of the whole layer.
        candidates: of the layer; its largest ``expand_ratio`` stands for ``total``.
        expand_ratio: fraction of the original layer's outputs, or None.
        channel: number of outputs, or None. With neither, all of them.
        multiple_of: outputs are kept in wholes of that many: heads, groups.

    Raises:
        InputError: if both are given, or either is outside of what the layer has.
    """
    require(
        expand_ratio is None or channel is None,
        f"give expand_ratio or channel, not both; got {expand_ratio} and {channel}",
    )
    if expand_ratio is not None:
        largest = largest_ratio(candidates)
        require(
            0 < expand_ratio <= largest,
            f"expand_ratio must be above 0 and at most {largest:g}; got {expand_ratio:g}",
        )
        return kept_count(total // multiple_of, expand_ratio / largest) * multiple_of
    if channel is None:
        return total
    require(
        1 <= channel <= total and channel % multiple_of == 0,
        f"channel must be a multiple of {multiple_of} up to {total}; got {channel}",
    )
    return int(channel)
