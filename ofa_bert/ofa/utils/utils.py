"""Small helpers, under their published module name."""

from ofa_bert.ofa.dynabert import dynabert_config
from ofa_bert.ofa.inputs import build_input
from ofa_bert.ofa.kernels import compute_start_end, get_same_padding
from ofa_bert.ofa.schedule import search_idx
from ofa_bert.ofa.state import remove_model_fn, set_state_dict

__all__ = [
    "build_input",
    "compute_start_end",
    "dynabert_config",
    "get_same_padding",
    "remove_model_fn",
    "search_idx",
    "set_state_dict",
]
