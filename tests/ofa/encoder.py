"""A transformer of paddle's own layers, and the same in NumPy at any width."""

from __future__ import annotations

import numpy as np

from ofa_bert.ofa import Convert, supernet
from tests.ofa.oracles import original_weights
from tests.oracles import gelu, layer_norm, softmax
from tests.tiny import paddle, randomise, tiny_batch

nn = paddle.nn
HEADS, LAYERS, DIM, NEURONS, CLASSES = 4, 2, 3, 24, 3
HIDDEN = HEADS * DIM


class Encoder(nn.Layer):
    """A transformer of paddle's own layers, with extra linear layers around it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(60, HIDDEN)
        self.before = nn.Linear(HIDDEN, HIDDEN)
        layer = nn.TransformerEncoderLayer(HIDDEN, HEADS, NEURONS, dropout=0.0, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, LAYERS)
        self.pooler = nn.Linear(HIDDEN, HIDDEN)
        self.classifier = nn.Linear(HIDDEN, CLASSES)

    def forward(self, input_ids, token_type_ids=None, attention_mask=None):
        mask = None
        if isinstance(attention_mask, list):
            mask = attention_mask
        elif attention_mask is not None:
            mask = ((1.0 - attention_mask.astype("float32")) * -1e4).unsqueeze([1, 2])
        encoded = self.encoder(self.before(self.embed(input_ids)), mask)
        return self.classifier(paddle.tanh(self.pooler(encoded[:, 0])))


def encoder(seed=0):
    model = Encoder()
    randomise(model, seed)
    model.eval()
    return model


def converted(model, widths=(0.25, 0.5, 1.0)):
    return Convert(supernet(expand_ratio=widths)).convert(model)


def batch_of(seed=0, rows=3):
    batch = tiny_batch(seed, rows)
    labels = np.random.default_rng(seed).integers(0, CLASSES, rows)
    return (*(paddle.to_tensor(batch[n]) for n in ("input_ids", "token_type_ids")), labels)


BATCHES = [(ids, types, paddle.to_tensor(labels)) for ids, types, labels in map(batch_of, range(3))]
IDS = BATCHES[0][0]


def layer_forward(w, x, heads, neurons, head_mask=None, neuron_mask=None):
    """One encoder layer in NumPy, by its own first heads and neurons."""

    def norm(x, name):
        return layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-5)

    contexts = []
    for head in range(heads):
        at = slice(head * DIM, (head + 1) * DIM)
        q, k, v = (
            x @ w[f"self_attn.{n}_proj.weight"][:, at] + w[f"self_attn.{n}_proj.bias"][at]
            for n in "qkv"
        )
        factor = 1.0 if head_mask is None else head_mask[head]
        contexts.append(factor * softmax(q @ k.swapaxes(-1, -2) / np.sqrt(DIM)) @ v)
    context = np.concatenate(contexts, -1)
    attended = (
        context @ w["self_attn.out_proj.weight"][: heads * DIM] + w["self_attn.out_proj.bias"]
    )
    x = norm(x + attended, "norm1")
    z = x @ w["linear1.weight"][:, :neurons] + w["linear1.bias"][:neurons]
    a = gelu(z) * (1.0 if neuron_mask is None else neuron_mask)
    return norm(x + a @ w["linear2.weight"][:neurons] + w["linear2.bias"], "norm2")


def encoder_forward(model, ids, heads, neurons, head_mask=None):
    return logits_of(original_weights(model), ids, heads, neurons, head_mask)


def logits_of(w, ids, heads, neurons, head_mask=None, neuron_mask=None):
    """``Encoder`` in NumPy; a mask has a row for each layer."""
    x = w["embed.weight"][ids] @ w["before.weight"] + w["before.bias"]
    for layer in range(LAYERS):
        prefix = f"encoder.layers.{layer}."
        own = {n.removeprefix(prefix): v for n, v in w.items() if n.startswith(prefix)}
        masks = (None if mask is None else mask[layer] for mask in (head_mask, neuron_mask))
        x = layer_forward(own, x, heads, neurons, *masks)
    pooled = np.tanh(x[:, 0] @ w["pooler.weight"] + w["pooler.bias"])
    return pooled @ w["classifier.weight"] + w["classifier.bias"]
