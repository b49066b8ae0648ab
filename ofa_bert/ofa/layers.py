"""The elastic layers, under their published names."""

from ofa_bert.ofa.layers_base import BaseBlock, Block
from ofa_bert.ofa.super_attention import SuperMultiHeadAttention
from ofa_bert.ofa.super_conv import (
    SuperConv2D,
    SuperConv2DTranspose,
    SuperDepthwiseConv2D,
    SuperDepthwiseConv2DTranspose,
    SuperGroupConv2D,
    SuperGroupConv2DTranspose,
)
from ofa_bert.ofa.super_linear import SuperEmbedding, SuperLinear
from ofa_bert.ofa.super_norm import (
    SuperBatchNorm,
    SuperBatchNorm1D,
    SuperBatchNorm2D,
    SuperInstanceNorm2D,
    SuperLayerNorm,
    SuperSyncBatchNorm,
)
from ofa_bert.ofa.super_separable import SuperSeparableConv2D

__all__ = [
    "BaseBlock",
    "Block",
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
]
