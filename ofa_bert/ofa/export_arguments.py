"""What ``OFA.export`` is asked for, in either of its published orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paddle import nn

from ofa_bert.errors import InputError, nearest
from ofa_bert.ofa.inputs import example_arguments
from ofa_bert.rules import require

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments of a network's forward, by place and by name."""
AS_CODED = (
    "config",
    "input_shapes",
    "input_dtypes",
    "origin_model",
    "load_weights_from_supernet",
)
AS_DOCUMENTED = (
    "origin_model",
    "config",
    "input_shapes",
    "input_dtypes",
    "load_weights_from_supernet",
)


@dataclass(frozen=True)
class ExportArguments:
    """What ``OFA.export`` was asked for."""

    config: Mapping[str, Any]
    """The sub-network."""
    input_shapes: Any = None
    """Shapes to run it with; None: the inputs of the last forward."""
    input_dtypes: Any = "float32"
    """Types of these inputs."""
    origin_model: nn.Layer | None = None
    """The original network, to be cut in place; None: a copy is made."""
    load_weights_from_supernet: bool = True
    """False cuts ``origin_model``'s own weights."""

    def inputs(self, last: Inputs | None) -> Inputs:
        """Give what to run the network with: of the shapes asked for, or else the last forward's.

        Raises:
            InputError: if there is neither, or such shapes cannot be built.
        """
        if self.input_shapes is not None:
            return example_arguments(self.input_shapes, self.input_dtypes), {}
        if last is None:
            raise InputError(
                "export must run the network once; give input_shapes and input_dtypes, "
                "e.g. [[1, 3, 32, 32]] and ['float32']"
            )
        return last


def export_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> ExportArguments:
    """Read the arguments in either published order: a network first, or a configuration.

    Raises:
        InputError: if one is unknown, given twice, or there is no configuration.
    """
    order = AS_DOCUMENTED if args and isinstance(args[0], nn.Layer) else AS_CODED
    require(
        len(args) <= len(order), f"export takes at most {len(order)} arguments; got {len(args)}"
    )
    given = dict(zip(order, args, strict=False))
    for name, value in kwargs.items():
        if name not in order:
            raise InputError(f"export has no argument {name!r}; {nearest(name, order)}")
        require(name not in given, f"export got {name} twice; order: {', '.join(order)}")
        given[name] = value
    require(
        isinstance(given.get("config"), Mapping),
        f"export needs a config, such as ofa.get_current_config; got {given.get('config')!r}",
    )
    origin = given.get("origin_model")
    require(
        origin is None or isinstance(origin, nn.Layer),
        f"origin_model must be the network that was converted, before that; got {origin!r}",
    )
    return ExportArguments(**given)
