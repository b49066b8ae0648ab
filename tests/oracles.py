"""The same mathematics once more, in NumPy and float64, written from the papers."""

from __future__ import annotations

import math

import numpy as np

Weights = dict[str, np.ndarray]


def erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf)(x)


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1.0 + erf(x / np.sqrt(2.0)))


def softmax(x: np.ndarray) -> np.ndarray:
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def log_softmax(x: np.ndarray) -> np.ndarray:
    return np.log(softmax(x))


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + eps) * weight + bias


def weights_of(model) -> Weights:
    return {name: p.numpy().astype("float64") for name, p in model.named_parameters()}


def bert(
    w: Weights,
    num_heads: list[int],
    head_dim: int,
    eps: float,
    input_ids: np.ndarray,
    token_type_ids: np.ndarray,
    attention_mask: np.ndarray,
    head_mask: list[np.ndarray] | None = None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Give the logits ``[batch, classes]`` and the hidden states, embeddings first.

    One head at a time, one example at a time, padding at the end cut off instead of masked.
    """
    logits, hidden_states = [], []
    for ids, types, mask in zip(input_ids, token_type_ids, attention_mask, strict=True):
        length = int(np.flatnonzero(mask)[-1]) + 1
        hole = np.where(mask[:length], 0.0, -np.inf)
        x = (
            w["bert.embeddings.word_embeddings.weight"][ids[:length]]
            + w["bert.embeddings.position_embeddings.weight"][:length]
            + w["bert.embeddings.token_type_embeddings.weight"][types[:length]]
        )
        x = layer_norm(
            x, w["bert.embeddings.layer_norm.weight"], w["bert.embeddings.layer_norm.bias"], eps
        )
        states = [x]
        for layer, heads in enumerate(num_heads):
            part = {
                name.removeprefix(f"bert.encoder.layers.{layer}."): value
                for name, value in w.items()
                if name.startswith(f"bert.encoder.layers.{layer}.")
            }

            def dense(x: np.ndarray, name: str, part: Weights = part) -> np.ndarray:
                return x @ part[f"{name}.weight"] + part[f"{name}.bias"]

            q, k, v = (dense(x, f"self_attn.{n}_proj") for n in "qkv")
            contexts = []
            for head in range(heads):
                at = slice(head * head_dim, (head + 1) * head_dim)
                probs = softmax(q[:, at] @ k[:, at].T / np.sqrt(head_dim) + hole)
                factor = 1.0 if head_mask is None else head_mask[layer][head]
                contexts.append(factor * probs @ v[:, at])
            attended = dense(np.concatenate(contexts, -1), "self_attn.out_proj")
            x = layer_norm(x + attended, part["norm1.weight"], part["norm1.bias"], eps)
            ffn = dense(gelu(dense(x, "linear1")), "linear2")
            x = layer_norm(x + ffn, part["norm2.weight"], part["norm2.bias"], eps)
            states.append(x)
        pooled = np.tanh(x[0] @ w["bert.pooler.dense.weight"] + w["bert.pooler.dense.bias"])
        logits.append(pooled @ w["classifier.weight"] + w["classifier.bias"])
        hidden_states.append(states)
    return np.stack(logits), [list(states) for states in zip(*hidden_states, strict=True)]


def bert_of(model, batch: dict[str, np.ndarray], head_mask=None, weights: Weights | None = None):
    """Run ``bert`` with the sizes of one of our models, and its weights or others of that size."""
    config = model.config
    return bert(
        weights_of(model) if weights is None else weights,
        list(config.num_attention_heads),
        config.head_dim,
        config.layer_norm_eps,
        **batch,
        head_mask=head_mask,
    )


def distillation_terms(
    student_model,
    teacher_model,
    batch,
    *,
    lambda_logit: float = 1.0,
    lambda_rep: float = 0.1,
    lambda_label: float = 0.3,
    weights: Weights | None = None,
) -> dict[str, float]:
    """The loss of a batch as DynaBERT writes it, and that of the labels, in float64."""
    arrays = {
        name: getattr(batch, name).numpy()
        for name in ("input_ids", "token_type_ids", "attention_mask")
    }
    logits, states = bert_of(student_model, arrays, weights=weights)
    teacher_logits, teacher_states = bert_of(teacher_model, arrays)
    rep = sum(
        sum(((s - t) ** 2).sum() for s, t in zip(ours, theirs, strict=True))
        / (arrays["attention_mask"].sum() * ours[0].shape[-1])
        for ours, theirs in zip(states, teacher_states, strict=True)
    )
    labels = batch.labels.numpy()
    if student_model.config.is_regression:
        logit = ((logits - teacher_logits) ** 2).mean()
        label = ((logits[:, 0] - labels) ** 2).mean()
    else:
        log_ratio = log_softmax(teacher_logits) - log_softmax(logits)
        logit = (softmax(teacher_logits) * log_ratio).sum() / len(logits)
        label = -log_softmax(logits)[np.arange(len(labels)), labels].mean()
    return {"rep": lambda_rep * rep, "logit": lambda_logit * logit, "label": lambda_label * label}


def adamw(
    w: Weights, grads: Weights, state: dict, *, step: int, lr: float, decay: Weights, eps: float
) -> Weights:
    """One step of AdamW (arXiv:1711.05101, algorithm 2); ``decay`` is the factor of each weight."""
    updated = {}
    for name, grad in grads.items():
        m, v = state.get(name, (0.0, 0.0))
        m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2
        state[name] = (m, v)
        m_hat, v_hat = m / (1 - 0.9**step), v / (1 - 0.999**step)
        decayed = w[name] * (1 - lr * decay[name])
        # paddle adds epsilon * sqrt(1 - beta2^t) to sqrt(v), which is epsilon on sqrt(v_hat).
        updated[name] = decayed - lr * m_hat / (np.sqrt(v_hat) + eps)
    return updated
