"""BERT in PyTorch as one would write it today, on our weights. Needs torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

WEIGHTS, CONFIG = "weights.npz", "sizes.json"


def load(directory: Path) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Give a function from ids and segments ``[batch, seq_len]`` to logits."""
    with np.load(directory / WEIGHTS) as arrays:
        # Ours are [in, out], torch wants [out, in].
        weights = {
            name: torch.from_numpy(array.T.copy() if _is_linear(name, array) else array)
            for name, array in arrays.items()
        }
    sizes = json.loads((directory / CONFIG).read_text())

    def logits(input_ids: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            ids, types = torch.from_numpy(input_ids), torch.from_numpy(token_type_ids)
            return forward(weights, sizes, ids, types).float().numpy()

    return logits


def forward(
    weights: dict[str, torch.Tensor], sizes: dict, ids: torch.Tensor, types: torch.Tensor
) -> torch.Tensor:
    """Compute logits ``[batch, num_classes]``; padding is masked."""

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], scale, shift, sizes["layer_norm_eps"])

    table = "bert.embeddings.{}_embeddings.weight".format
    x = weights[table("word")][ids] + weights[table("token_type")][types]
    x = norm(x + weights[table("position")][: ids.shape[1]], "bert.embeddings.layer_norm")
    mask = (ids != sizes["pad_token_id"])[:, None, None]
    for layer, heads in enumerate(sizes["num_attention_heads"]):
        name = f"bert.encoder.layers.{layer}"
        q, k, v = (
            linear(x, f"{name}.self_attn.{part}_proj").unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in "qkv"
        )
        context = F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)
        x = norm(x + linear(context, f"{name}.self_attn.out_proj"), f"{name}.norm1")
        ffn = linear(F.gelu(linear(x, f"{name}.linear1")), f"{name}.linear2")
        x = norm(x + ffn, f"{name}.norm2")
    pooled = torch.tanh(linear(x[:, 0], "bert.pooler.dense"))
    return linear(pooled, "classifier")


def _is_linear(name: str, array: np.ndarray) -> bool:
    return array.ndim == 2 and "embeddings" not in name
