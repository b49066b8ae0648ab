"""Elastic linear and embedding layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import paddle
from paddle import nn

from ofa_bert.nn.linear import elastic_linear
from ofa_bert.ofa.widths import out_count, sorted_candidates


class SuperLinear(nn.Linear):
    """``paddle.nn.Linear`` of which any prefix of inputs and outputs can be used.

    Args:
        in_features: largest number of inputs.
        out_features: largest number of outputs.
        candidate_config: choices of ``expand_ratio`` or ``channel``.
        weight_attr: as in ``paddle.nn.Linear``.
        bias_attr: likewise; False for no bias.
        name: likewise.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        candidate_config: Mapping[str, Any] | None = None,
        weight_attr: Any = None,
        bias_attr: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(in_features, out_features, weight_attr, bias_attr, name)
        self.candidate_config = sorted_candidates(candidate_config)

    def forward(
        self,
        input: paddle.Tensor,
        expand_ratio: float | None = None,
        channel: int | None = None,
    ) -> paddle.Tensor:
        """Map ``[..., in]`` to ``[..., out]``; ``in`` is the width of ``input``."""
        total = self.weight.shape[1]
        count = out_count(total, self.candidate_config, expand_ratio, channel)
        return elastic_linear(input, self.weight, self.bias, count)


class SuperEmbedding(nn.Embedding):
    """``paddle.nn.Embedding`` of which any prefix of each vector can be used.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: largest width of a vector.
        candidate_config: choices of ``expand_ratio`` or ``channel``.
        padding_idx: as in ``paddle.nn.Embedding``.
        sparse: likewise.
        weight_attr: likewise.
        name: likewise.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        candidate_config: Mapping[str, Any] | None = None,
        padding_idx: int | None = None,
        sparse: bool = False,
        weight_attr: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx=padding_idx,
            sparse=sparse,
            weight_attr=weight_attr,
            name=name,
        )
        self.candidate_config = sorted_candidates(candidate_config)

    def forward(
        self,
        x: paddle.Tensor,
        expand_ratio: float | None = None,
        channel: int | None = None,
    ) -> paddle.Tensor:
        """Map ids ``[...]`` to ``[..., out]``."""
        total = self.weight.shape[1]
        count = out_count(total, self.candidate_config, expand_ratio, channel)
        # What is looked up is cut, not the table first: that would copy the table.
        found = super().forward(x)
        return found if count == total else found[..., :count]
