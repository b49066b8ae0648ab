"""What scripts call beside ``OFA``."""

from ofa_bert.ofa.utils.nlp_utils import (
    compute_neuron_head_importance,
    reorder_head,
    reorder_neuron,
    reorder_neuron_head,
)
from ofa_bert.ofa.utils.utils import (
    build_input,
    compute_start_end,
    dynabert_config,
    get_same_padding,
    remove_model_fn,
    search_idx,
    set_state_dict,
)

__all__ = [
    "build_input",
    "compute_neuron_head_importance",
    "compute_start_end",
    "dynabert_config",
    "get_same_padding",
    "remove_model_fn",
    "reorder_head",
    "reorder_neuron",
    "reorder_neuron_head",
    "search_idx",
    "set_state_dict",
]
