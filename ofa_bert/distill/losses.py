"""The losses, one equation each.

Every function sums over what it is given and divides by a ``count`` that the caller names. For a
whole optimizer step that count is the same in every process and micro-batch, so the parts of a
split batch add up to exactly the loss of the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import paddle
import paddle.nn.functional as F

LabelLoss = Callable[[paddle.Tensor, paddle.Tensor, float], paddle.Tensor]


def hidden_mse(
    student: paddle.Tensor, teacher: paddle.Tensor, token_mask: paddle.Tensor, num_tokens: float
) -> paddle.Tensor:
    """Mean squared difference of two hidden states over the positions that hold a token.

    ``sum_t m_t |s_t - t_t|^2 / (num_tokens * hidden_size)`` (DynaBERT, arXiv:2004.04037 §2.1,
    which also counts padding; we do not).

    Args:
        student: ``[batch, seq_len, hidden_size]``.
        teacher: the same shape.
        token_mask: ``[batch, seq_len, 1]``, 1 for tokens and 0 for padding.
        num_tokens: tokens to average over.
    """
    difference = (student - teacher) * token_mask
    return (difference * difference).sum() / (num_tokens * student.shape[-1])


def soft_cross_entropy(
    student_logits: paddle.Tensor, teacher_logits: paddle.Tensor, num_examples: float
) -> paddle.Tensor:
    """Cross entropy of the student's class probabilities under the teacher's.

    ``-sum_c softmax(t)_c log softmax(s)_c`` per example (arXiv:2004.04037 §2.1), temperature 1.

    Args:
        student_logits: ``[batch, num_classes]``.
        teacher_logits: the same shape.
        num_examples: examples to average over.
    """
    log_probs = F.log_softmax(student_logits, axis=-1)
    return -(F.softmax(teacher_logits, axis=-1) * log_probs).sum() / num_examples


def kl_divergence(
    student_logits: paddle.Tensor, teacher_logits: paddle.Tensor, num_examples: float
) -> paddle.Tensor:
    """Soft cross entropy less the teacher's own entropy.

    The entropy does not depend on the student: gradients are those of ``soft_cross_entropy``,
    and the value is 0 when the student says what the teacher says.
    """
    entropy = soft_cross_entropy(teacher_logits, teacher_logits, num_examples)
    return soft_cross_entropy(student_logits, teacher_logits, num_examples) - entropy


def squared_error(
    predictions: paddle.Tensor, targets: paddle.Tensor, num_examples: float
) -> paddle.Tensor:
    """Mean squared error of numbers: ``sum (p - t)^2 / num_examples``.

    Args:
        predictions: ``[batch, 1]`` or ``[batch]``.
        targets: as many numbers, in either shape.
        num_examples: examples to average over.
    """
    difference = predictions.flatten() - targets.flatten()
    return (difference * difference).sum() / num_examples


def cross_entropy(
    logits: paddle.Tensor, labels: paddle.Tensor, num_examples: float
) -> paddle.Tensor:
    """Cross entropy of the right class: ``-sum log softmax(logits)_label / num_examples``.

    Args:
        logits: ``[batch, num_classes]``.
        labels: ``[batch]`` class indices.
        num_examples: examples to average over.
    """
    return F.cross_entropy(logits, labels, reduction="sum") / num_examples
