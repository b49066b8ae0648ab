"""DynaBERT's uniform widths as a configuration (arXiv:2004.04037 §2.1)."""

from __future__ import annotations

from typing import Any

from ofa_bert.ofa.choices import DEPTH, Config, width_key
from ofa_bert.ofa.layers_base import Block
from ofa_bert.ofa.ofa import OFA
from ofa_bert.ofa.outputs import bare
from ofa_bert.ofa.transformer import attentions, feed_forwards
from ofa_bert.rules import require
from ofa_bert.subnet import kept_count
from ofa_bert.widths import check_width


def dynabert_config(model: OFA, width_mult: float, depth_mult: Any = None) -> Config:
    """Keep ``width_mult`` of the heads and neurons of every layer of a transformer.

    Heads are those of attention layers, neurons what is between the two linear layers of a
    feed-forward; every other layer is at its full size, however many there are and in whatever
    order they were made.

    Args:
        model: with a converted transformer.
        width_mult: in (0, 1].
        depth_mult: the ``depth`` of the configuration, where the network has a choice of it; None:
            the deepest.

    Returns:
        A new configuration, with an entry for every elastic layer.

    Raises:
        InputError: if ``width_mult`` is outside (0, 1].
    """
    check_width(width_mult)
    require(
        isinstance(model, OFA),
        f"dynabert_config takes an OFA; got a {type(model).__name__}; type OFA(converted)",
    )
    network = bare(model.model)
    narrowed = {
        id(layer)
        for attention in attentions(network)
        for layer in (attention.q_proj, attention.k_proj, attention.v_proj)
    }
    narrowed |= {id(pair.first) for pair in feed_forwards(network)}
    config: Config = {}
    for name, layer in network.named_sublayers():
        key = width_key(layer.candidate_config) if isinstance(layer, Block) else None
        if key is None or layer.fixed:
            continue
        largest = layer.candidate_config[key][-1]
        share = width_mult if id(layer) in narrowed else 1.0
        kept = kept_count(largest, share) if key == "channel" else largest * share
        config[name] = {key: kept}
    depths = model.ofa_layers.get(DEPTH)
    if depths:
        config[DEPTH] = depths[-1] if depth_mult is None else depth_mult
    return config
