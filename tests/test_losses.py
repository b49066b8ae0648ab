import numpy as np
import paddle
import pytest

from ofa_bert.distill import losses
from tests.oracles import log_softmax, softmax


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_hidden_mse_by_hand_leaves_padding_out():
    student = paddle.to_tensor([[[1.0, 2.0], [9.0, 9.0]]])
    teacher = paddle.to_tensor([[[0.0, 4.0], [0.0, 0.0]]])
    mask = paddle.to_tensor([[[1.0], [0.0]]])
    # (1 + 4) over one token of two numbers.
    assert losses.hidden_mse(student, teacher, mask, 1).item() == pytest.approx(2.5)


def test_the_gradient_of_hidden_mse_by_hand():
    student, teacher = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    mask = np.array([[1, 1, 0], [1, 0, 0]], "float32")[..., None]
    given = paddle.to_tensor(student, stop_gradient=False)
    loss = losses.hidden_mse(given, paddle.to_tensor(teacher), paddle.to_tensor(mask), 5)
    (found,) = paddle.grad(loss, given)
    # d/ds of m (s - t)^2 / (5 tokens * 4 numbers); m is 0 or 1.
    by_hand = 2 * (student - teacher) * mask / (5 * 4)
    np.testing.assert_allclose(found.numpy(), by_hand, rtol=1e-6, atol=1e-8)


def test_soft_cross_entropy_equals_numpy():
    student, teacher = normal(5, 3), normal(5, 3, seed=1)
    expected = -(softmax(teacher) * log_softmax(student)).sum() / 5
    found = losses.soft_cross_entropy(paddle.to_tensor(student), paddle.to_tensor(teacher), 5)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_kl_divergence_is_zero_for_equal_logits_and_has_the_gradient_of_soft_cross_entropy():
    teacher = paddle.to_tensor(normal(4, 3))
    assert losses.kl_divergence(teacher, teacher, 4).item() == 0.0
    student = paddle.to_tensor(normal(4, 3, seed=1), stop_gradient=False)
    (of_kl,) = paddle.grad(losses.kl_divergence(student, teacher, 4), student)
    # By hand: d/ds of the soft cross entropy is softmax(s) - softmax(t), averaged.
    by_hand = (softmax(student.numpy()) - softmax(teacher.numpy())) / 4
    np.testing.assert_allclose(of_kl.numpy(), by_hand, rtol=1e-5, atol=1e-7)


def test_squared_error_by_hand():
    found = losses.squared_error(paddle.to_tensor([[1.0], [3.0]]), paddle.to_tensor([2.0, 1.0]), 2)
    assert found.item() == pytest.approx((1 + 4) / 2)


def test_cross_entropy_equals_numpy():
    logits, labels = normal(6, 4), np.array([0, 3, 1, 1, 2, 0])
    expected = -log_softmax(logits)[np.arange(6), labels].mean()
    found = losses.cross_entropy(paddle.to_tensor(logits), paddle.to_tensor(labels), 6)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "loss", [losses.soft_cross_entropy, losses.kl_divergence, losses.squared_error]
)
def test_parts_of_a_batch_add_up_to_the_loss_of_the_batch(loss):
    student, teacher = paddle.to_tensor(normal(6, 1)), paddle.to_tensor(normal(6, 1, seed=1))
    parts = sum(loss(student[i : i + 2], teacher[i : i + 2], 6).item() for i in (0, 2, 4))
    assert loss(student, teacher, 6).item() == pytest.approx(parts, rel=1e-5, abs=1e-7)
