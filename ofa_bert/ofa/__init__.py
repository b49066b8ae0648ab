"""Once-for-all for any ``paddle.nn`` network, under the names of ``paddleslim.nas.ofa``.

docs/ofa.md says how it works, and where it differs.
"""

from ofa_bert import runtime

runtime.prepare()  # before anything below imports paddle

from ofa_bert.ofa import utils  # noqa: E402
from ofa_bert.ofa.budget import within_latency, within_macs, within_params  # noqa: E402
from ofa_bert.ofa.convert import Convert  # noqa: E402
from ofa_bert.ofa.dynabert import dynabert_config  # noqa: E402
from ofa_bert.ofa.get_sub_model import check_search_space  # noqa: E402
from ofa_bert.ofa.layers import (  # noqa: E402
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
from ofa_bert.ofa.ofa import OFA  # noqa: E402
from ofa_bert.ofa.settings import DistillConfig, RunConfig  # noqa: E402
from ofa_bert.ofa.space import supernet  # noqa: E402

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
