"""What a supernet may choose from: ``supernet``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ofa_bert.ofa.kernels import check_odd
from ofa_bert.rules import require

if TYPE_CHECKING:
    from ofa_bert.ofa.convert import Convert


@dataclass(frozen=True)
class supernet:  # noqa: N801 - the published name
    """The choices that ``Convert`` gives to the layers of a network.

    As a context manager it gives a ``Convert``: ``with supernet(...) as sp: layers =
    sp.convert(layers)``.
    """

    kernel_size: Sequence[int] | int | None = None
    """Kernel sizes of convolutions, odd, pixels; each layer has its own size as well."""
    expand_ratio: Sequence[float] | float | None = None
    """Widths, as fractions of each layer's own; the largest is 1, or more to widen the network."""
    channel: Sequence[Sequence[int]] | None = None
    """Widths in channels, one list for each convolution, linear and embedding layer, in order."""

    def __post_init__(self) -> None:
        kernel_size, ratios, channel = self.kernel_size, self.expand_ratio, self.channel
        require(
            ratios is None or channel is None,
            "give supernet expand_ratio or channel, not both; drop one of them",
        )
        if kernel_size is not None:
            kernel_size = _numbers("kernel_size", kernel_size)
            check_odd(kernel_size)
        if ratios is not None:
            ratios = tuple(sorted(set(_numbers("expand_ratio", ratios))))
            require(
                len(ratios) > 0 and ratios[0] > 0 and isfinite(ratios[-1]),
                f"expand_ratio must be fractions above 0; got {list(ratios)}",
            )
            require(
                ratios[-1] >= 1,
                "expand_ratio must hold 1.0, the whole layer; "
                f"got {list(ratios)}; type expand_ratio={[*ratios, 1.0]}",
            )
        normalised = {
            "kernel_size": tuple(sorted(set(kernel_size))) if kernel_size else None,
            "expand_ratio": ratios,
            "channel": None if channel is None else _width_lists(channel),
        }
        for name, value in normalised.items():
            object.__setattr__(self, name, value)

    @property
    def expand(self) -> float | None:
        """The largest ``expand_ratio``: how much wider than the original the supernet is."""
        return None if self.expand_ratio is None else max(self.expand_ratio)  # type: ignore[arg-type]

    def __enter__(self) -> Convert:
        from ofa_bert.ofa.convert import Convert

        return Convert(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


def _numbers(name: str, given: Any) -> tuple[Any, ...]:
    """Read one number or several, NumPy's as Python's."""
    numbers = tuple(given) if isinstance(given, Iterable) else (given,)
    require(
        all(isinstance(number, Real) for number in numbers) and not isinstance(given, str),
        f"{name} must be numbers; got {given!r}",
    )
    return tuple(number.item() if hasattr(number, "item") else number for number in numbers)


def _width_lists(channel: Any) -> tuple[tuple[int, ...], ...]:
    require(
        isinstance(channel, Iterable) and not isinstance(channel, str),
        "channel must be a list with the widths of each convolution, linear and embedding layer, "
        f"such as [(8, 16), (16, 32)]; got {channel!r}",
    )
    return tuple(map(_widths, channel))


def _widths(given: Any) -> tuple[int, ...]:
    widths = tuple(sorted(set(_numbers("each entry of channel", given))))
    require(
        len(widths) > 0 and all(isinstance(w, int) and w > 0 for w in widths),
        f"each entry of channel must be whole numbers above 0; got {list(widths)}",
    )
    return widths
