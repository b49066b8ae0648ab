"""Names of parameters: ours, which are PaddleNLP's, and what Hugging Face calls them.

Which family a file speaks shows in its names, not in the name of the file: Hugging Face's
directories hold safetensors as PaddleNLP's do, and only the names tell whether linear weights lie
as ``[out, in]`` (Hugging Face) or ``[in, out]`` (ours).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ofa_bert.errors import InputError
from ofa_bert.model_config import ModelConfig

Family = Literal["paddlenlp", "huggingface"]
Shape = tuple[int, ...]

HUGGINGFACE_LAYER = {
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}
"""Modules of one encoder layer."""

IGNORED = (
    r"embeddings\.(position_ids|token_type_ids)",  # buffers that hold 0, 1, 2, ...
    r"cls\..*",  # heads of pretraining: masked words and next sentence
    r"lm_head\..*",
    r"qa_outputs\..*",
)
"""Names, without ``bert.``, that a classifier has no use for."""


@dataclass(frozen=True)
class Target:
    """What a parameter of a file is in our model."""

    name: str
    transposed: bool = False


def family_of(names: Iterable[str]) -> Family:
    """Tell by its names which toolkit wrote a file.

    Raises:
        InputError: if the names are those of no BERT we know.
    """
    names = list(names)
    has = {
        "paddlenlp": any("encoder.layers." in name or "layer_norm." in name for name in names),
        "huggingface": any("encoder.layer." in name or "LayerNorm." in name for name in names),
    }
    found: list[Family] = [family for family in ("paddlenlp", "huggingface") if has[family]]
    if len(found) != 1:
        raise InputError(
            "weights must be named as PaddleNLP (encoder.layers.0...) or Hugging Face "
            f"(encoder.layer.0...) name a BERT; got {', '.join(sorted(names)[:3])!r:.150}"
        )
    return found[0]


def target_of(name: str, family: Family) -> Target | None:
    """Find what a parameter is in our model; None if it is one to ignore.

    A name that is not known comes back as it is, for the caller to report.
    """
    bare = name.removeprefix("bert.")
    if any(re.fullmatch(pattern, bare) for pattern in IGNORED):
        return None
    if family == "huggingface":
        return _from_huggingface(bare)
    return Target(_with_prefix(bare))


def parameter_shapes(config: ModelConfig) -> dict[str, Shape]:
    """List every parameter of our model with its shape, without building the model."""
    hidden = config.hidden_size
    shapes: dict[str, Shape] = {}

    def linear(name: str, num_inputs: int, num_outputs: int) -> None:
        shapes[f"{name}.weight"] = (num_inputs, num_outputs)
        shapes[f"{name}.bias"] = (num_outputs,)

    def norm(name: str) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (hidden,)

    embeddings = "bert.embeddings"
    shapes[f"{embeddings}.word_embeddings.weight"] = (config.vocab_size, hidden)
    shapes[f"{embeddings}.position_embeddings.weight"] = (config.max_position_embeddings, hidden)
    shapes[f"{embeddings}.token_type_embeddings.weight"] = (config.type_vocab_size, hidden)
    norm(f"{embeddings}.layer_norm")
    sizes = zip(config.num_attention_heads, config.intermediate_size, strict=True)
    for layer, (num_heads, num_neurons) in enumerate(sizes):
        prefix = f"bert.encoder.layers.{layer}"
        for projection in ("q_proj", "k_proj", "v_proj"):
            linear(f"{prefix}.self_attn.{projection}", hidden, num_heads * config.head_dim)
        linear(f"{prefix}.self_attn.out_proj", num_heads * config.head_dim, hidden)
        linear(f"{prefix}.linear1", hidden, num_neurons)
        linear(f"{prefix}.linear2", num_neurons, hidden)
        norm(f"{prefix}.norm1")
        norm(f"{prefix}.norm2")
    linear("bert.pooler.dense", hidden, hidden)
    linear("classifier", hidden, config.num_classes)
    return shapes


def _from_huggingface(bare: str) -> Target:
    bare = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", bare)
    bare = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", bare)
    module, _, kind = bare.rpartition(".")
    transposed = kind == "weight" and not module.endswith("_embeddings")
    match = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", module)
    if match and match[2] in HUGGINGFACE_LAYER:
        module = f"encoder.layers.{match[1]}.{HUGGINGFACE_LAYER[match[2]]}"
    elif module == "embeddings.LayerNorm":
        module = "embeddings.layer_norm"
    # Transposing a LayerNorm's vector leaves it as it is.
    return Target(_with_prefix(f"{module}.{kind}"), transposed)


def _with_prefix(bare: str) -> str:
    return bare if bare.startswith("classifier.") else f"bert.{bare}"
