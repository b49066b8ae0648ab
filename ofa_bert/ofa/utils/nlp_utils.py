"""Importance and reordering of transformers, under their published module name.

Importing it changes nothing.
"""

from ofa_bert.ofa.reorder_layers import reorder_head, reorder_neuron, reorder_neuron_head
from ofa_bert.ofa.transformer_importance import compute_neuron_head_importance

__all__ = [
    "compute_neuron_head_importance",
    "reorder_head",
    "reorder_neuron",
    "reorder_neuron_head",
]
