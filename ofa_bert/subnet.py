"""Sub-networks as values: which layers, how many heads and FFN neurons in each, and their cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ofa_bert.errors import InputError
from ofa_bert.model_config import ModelConfig
from ofa_bert.rounding import round_down
from ofa_bert.rules import require
from ofa_bert.widths import check_width, width_label


@dataclass(frozen=True)
class Subnet:
    """A choice of layers and of the prefix of heads and neurons kept in each of them.

    The three tuples run in parallel: entry ``i`` speaks of encoder layer ``layers[i]``.
    """

    layers: tuple[int, ...]
    """Indices of the encoder layers kept, ascending."""
    num_heads: tuple[int, ...]
    """Attention heads kept in each of them."""
    num_neurons: tuple[int, ...]
    """FFN neurons kept in each of them."""

    def __post_init__(self) -> None:
        require(
            len(self.layers) == len(self.num_heads) == len(self.num_neurons) > 0,
            "a Subnet needs one count of heads and of neurons for each kept layer; got "
            f"{len(self.layers)} layers, {len(self.num_heads)} and {len(self.num_neurons)} counts",
        )
        require(
            list(self.layers) == sorted(set(self.layers)),
            f"a Subnet's layers must ascend without repeats; got {list(self.layers)}",
        )


def kept_count(total: int, width_mult: float) -> int:
    """Turn a fraction into whole heads or neurons: the nearest number, halves up, at least 1.

    The only place where a fraction becomes a count.
    """
    check_width(width_mult)
    return max(1, round_down(total * width_mult + 0.5))


def full_subnet(config: ModelConfig) -> Subnet:
    """Give the sub-network that is the whole model."""
    layers = tuple(range(config.num_layers))
    return Subnet(layers, config.num_attention_heads, config.intermediate_size)


def subnet_at_width(config: ModelConfig, width_mult: float) -> Subnet:
    """Keep ``width_mult`` of the heads and of the FFN neurons in every layer."""
    return Subnet(
        layers=tuple(range(config.num_layers)),
        num_heads=tuple(kept_count(n, width_mult) for n in config.num_attention_heads),
        num_neurons=tuple(kept_count(n, width_mult) for n in config.intermediate_size),
    )


def resolve_widths(config: ModelConfig, width_mult_list: Sequence[float]) -> dict[float, Subnet]:
    """Resolve each width to its sub-network, widest first.

    Raises:
        InputError: if two widths resolve to the same sub-network or are written alike, or one is
            outside (0, 1].
    """
    subnets: dict[float, Subnet] = {}
    for width_mult in sorted(width_mult_list, reverse=True):
        subnet, label = subnet_at_width(config, width_mult), width_label(width_mult)
        for other, taken in subnets.items():
            if taken == subnet:
                raise InputError(
                    f"widths {width_label(other)} and {label} are the same sub-network "
                    f"({describe(subnet)}); name one of them"
                )
            if width_label(other) == label:  # names scores, and the folder of an export
                raise InputError(
                    f"widths {other} and {width_mult} are both written {label}; name one of them"
                )
        subnets[width_mult] = subnet
    return subnets


def span(counts: Sequence[int]) -> str:
    """Write counts of several layers as one number where they are the same, else as ``6-8``."""
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low}-{high}"


def describe(subnet: Subnet) -> str:
    """Write a sub-network in a few words, e.g. ``6 layers, 10 heads, 1280 neurons``."""
    return (
        f"{len(subnet.layers)} layers, {span(subnet.num_heads)} heads, "
        f"{span(subnet.num_neurons)} neurons"
    )


def sub_config(config: ModelConfig, subnet: Subnet) -> ModelConfig:
    """Give the config of the plain smaller model that ``subnet`` cuts out.

    Raises:
        InputError: if ``subnet`` asks for more than the model has.
    """
    check_subnet(config, subnet)
    return replace(
        config, num_attention_heads=subnet.num_heads, intermediate_size=subnet.num_neurons
    )


def check_subnet(config: ModelConfig, subnet: Subnet) -> None:
    """Raise ``InputError`` unless every layer, head and neuron of ``subnet`` exists."""
    require(
        subnet.layers[0] >= 0 and subnet.layers[-1] < config.num_layers,
        f"layers must be 0 to {config.num_layers - 1}; got {list(subnet.layers)}",
    )
    for name, kept, sizes in [
        ("heads", subnet.num_heads, config.num_attention_heads),
        ("neurons", subnet.num_neurons, config.intermediate_size),
    ]:
        for layer, count in zip(subnet.layers, kept, strict=True):
            require(
                1 <= count <= sizes[layer],
                f"layer {layer} has {sizes[layer]} {name}; a sub-network keeps 1 to that many, "
                f"got {count}",
            )


def count_params(config: ModelConfig, subnet: Subnet, *, embeddings: bool = True) -> int:
    """Count the parameters of a sub-network with its pooler and classifier."""
    hidden = config.hidden_size
    total = hidden * hidden + hidden + hidden * config.num_classes + config.num_classes
    if embeddings:
        rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
        total += rows * hidden + 2 * hidden
    for num_heads, num_neurons in zip(subnet.num_heads, subnet.num_neurons, strict=True):
        width = num_heads * config.head_dim
        total += 3 * (hidden * width + width) + width * hidden + hidden
        total += hidden * num_neurons + num_neurons + num_neurons * hidden + hidden
        total += 4 * hidden
    return total


def count_macs(config: ModelConfig, subnet: Subnet, seq_len: int) -> int:
    """Count the multiply-accumulates of one forward of one text of ``seq_len`` tokens.

    Matrix products only: the projections, scores and contexts of attention, the FFN, and the
    pooler and classifier, which see one token.
    """
    hidden = config.hidden_size
    total = hidden * hidden + hidden * config.num_classes
    for num_heads, num_neurons in zip(subnet.num_heads, subnet.num_neurons, strict=True):
        width = num_heads * config.head_dim
        total += seq_len * (4 * hidden * width + 2 * hidden * num_neurons)
        total += 2 * seq_len * seq_len * width
    return total
