"""Once-for-all for any ``paddle.nn`` network, under the names of ``paddleslim.nas.ofa``.

docs/ofa.md says how it works, and where it differs.
"""

from ofa_bert.ofa import utils
from ofa_bert.ofa.budget import within_latency, within_macs, within_params
from ofa_bert.ofa.convert import Convert
from ofa_bert.ofa.dynabert import dynabert_config
from ofa_bert.ofa.get_sub_model import check_search_space
from ofa_bert.ofa.layers import (
    BaseBlock,
    Block,
    SuperBatchNorm,
    SuperBatchNorm1D,
    SuperBatchNorm2D,
    SuperConv2D,
    SuperConv2DTranspose,
    SuperDepthwiseConv2D,
    SuperDepthwiseConv2DTranspose,
    SuperEmbedding,
    SuperGroupConv2D,
    SuperGroupConv2DTranspose,
    SuperInstanceNorm2D,
    SuperLayerNorm,
    SuperLinear,
    SuperMultiHeadAttention,
    SuperSeparableConv2D,
    SuperSyncBatchNorm,
)
from ofa_bert.ofa.ofa import OFA
from ofa_bert.ofa.settings import DistillConfig, RunConfig
from ofa_bert.ofa.space import supernet

__all__ = [
    "OFA",
    "BaseBlock",
    "Block",
    "Convert",
    "DistillConfig",
    "RunConfig",
    "SuperBatchNorm",
    "SuperBatchNorm1D",
    "SuperBatchNorm2D",
    "SuperConv2D",
    "SuperConv2DTranspose",
    "SuperDepthwiseConv2D",
    "SuperDepthwiseConv2DTranspose",
    "SuperEmbedding",
    "SuperGroupConv2D",
    "SuperGroupConv2DTranspose",
    "SuperInstanceNorm2D",
    "SuperLayerNorm",
    "SuperLinear",
    "SuperMultiHeadAttention",
    "SuperSeparableConv2D",
    "SuperSyncBatchNorm",
    "check_search_space",
    "dynabert_config",
    "supernet",
    "utils",
    "within_latency",
    "within_macs",
    "within_params",
]
