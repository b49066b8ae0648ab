"""The networks the benchmarks run: all-MiniLM-L6-v2 where it is at hand, BERT-base, tiny."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

import ofa_bert as ofa
from benchmarks.engines import token_ids
from benchmarks.harness import ROOT
from ofa_bert import runtime

runtime.prepare()

from ofa_bert.nn.bert import init_weights  # noqa: E402

SIZES = {"minilm": (6, 384, 12), "bert-base": (12, 768, 12), "tiny": (2, 48, 6)}
"""Layers, hidden size and heads of each network."""
MODELS = tuple(SIZES)
SHARED = Path(os.environ.get("SHARED", ROOT.parent / "shared"))
MINILM = SHARED / "models" / "all-MiniLM-L6-v2"


def random_config(name: str) -> ofa.ModelConfig:
    """Give the sizes of a network of ``MODELS``."""
    layers, hidden, heads = SIZES[name]
    vocab = 1000 if name == "tiny" else 30522
    return ofa.ModelConfig(
        vocab, hidden, (heads,) * layers, (4 * hidden,) * layers, hidden // heads
    )


def load(name: str) -> tuple[ofa.BertForSequenceClassification, str]:
    """Make a network of ``MODELS`` in eval mode.

    Biases are not zero and logits are about 1 in size, so that a lost bias or a coarse number
    shows in them.

    Returns:
        The model, and where its weights are from.
    """
    pretrained = name == "minilm" and MINILM.is_dir()
    if pretrained:
        model = ofa.load_model(MINILM)
    else:
        model = ofa.BertForSequenceClassification(random_config(name))
        init_weights(model, 0)
    generator = np.random.default_rng(1)
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.startswith("classifier"):
            values = generator.normal(0.0, model.config.hidden_size**-0.5, parameter.shape)
        elif not pretrained and parameter_name.endswith("bias"):
            values = generator.normal(0.0, 0.02, parameter.shape)
        else:
            continue
        parameter.set_value(values.astype("float32"))
    model.eval()
    _scale_logits(model)
    return model, "all-MiniLM-L6-v2" if pretrained else "random weights"


def _scale_logits(model: ofa.BertForSequenceClassification) -> None:
    """Give the logits of random texts a standard deviation of 1."""
    import paddle

    ids = token_ids(model.config.vocab_size, 8, 32)
    with paddle.no_grad():
        logits = model(*map(paddle.to_tensor, ids)).logits.numpy()
    for parameter in model.classifier.parameters():
        parameter.set_value(parameter.numpy() / logits.std())


def tokenizer_of(config: ofa.ModelConfig) -> ofa.Tokenizer:
    """Make a tokenizer with the right number of tokens, for exports that need one."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [f"w{number}" for number in range(config.vocab_size - len(special))]
    return ofa.Tokenizer.from_vocab([*special, *words])
