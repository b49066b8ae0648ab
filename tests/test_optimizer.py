from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.config import TrainConfig
from ofa_bert.errors import InputError
from ofa_bert.optimizer import StepPlan, learning_rate, make_optimizer, plan_steps
from tests.tiny import randomise, tiny_config, tiny_model

import paddle  # isort: skip


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # 10 steps an epoch.
        ({"num_train_epochs": 3}, StepPlan(10, 30, 0)),
        ({"num_train_epochs": 2.45}, StepPlan(10, 25, 0)),  # 24.5, rounded up
        ({"num_train_epochs": 0.01}, StepPlan(10, 1, 0)),
        ({"num_train_epochs": 3, "max_steps": 7}, StepPlan(10, 7, 0)),
        ({"num_train_epochs": 3, "max_steps": 45}, StepPlan(10, 45, 0)),
        ({"num_train_epochs": 3, "warmup_ratio": 0.15}, StepPlan(10, 30, 4)),  # 4.5, down
        ({"num_train_epochs": 3, "warmup_ratio": 0.15, "warmup_steps": 2}, StepPlan(10, 30, 2)),
        ({"max_steps": 1, "warmup_ratio": 0.1}, StepPlan(10, 1, 0)),
    ],
)
def test_plan_steps(settings, expected):
    assert plan_steps(10, TrainConfig(**settings)) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # 100 * 1.1 is 110.00000000000001 in floating point, 100 * 0.29 is 28.999999999999996.
        ({"num_train_epochs": 1.1}, StepPlan(100, 110, 0)),
        ({"num_train_epochs": 1, "warmup_ratio": 0.29}, StepPlan(100, 100, 29)),
    ],
)
def test_floating_point_adds_and_takes_no_step(settings, expected):
    assert plan_steps(100, TrainConfig(**settings)) == expected


def test_a_warm_up_leaves_a_step_at_the_whole_rate():
    """As long as a run of one step, it would train nothing: the first rate of a warm-up is 0."""
    assert plan_steps(10, TrainConfig(max_steps=4, warmup_steps=3)).warmup_steps == 3
    for settings, steps in [({"max_steps": 1}, 1), ({"num_train_epochs": 3}, 30)]:
        message = rf"warmup_steps must be below {steps}, the steps of the run; got {steps}; lower"
        with pytest.raises(InputError, match=message):
            plan_steps(10, TrainConfig(warmup_steps=steps, **settings))
    advised = TrainConfig(num_train_epochs=3, warmup_steps=0, warmup_ratio=0.1)
    assert plan_steps(10, advised).warmup_steps == 3


def test_the_learning_rate_rises_then_falls_to_0():
    plan = StepPlan(steps_per_epoch=10, total_steps=10, warmup_steps=4)
    found = [learning_rate(step, plan, 6.0) for step in range(11)]
    assert found == pytest.approx([0.0, 1.5, 3.0, 4.5, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0])


def test_without_warm_up_the_first_step_has_the_whole_rate_and_the_last_a_share():
    plan = StepPlan(steps_per_epoch=4, total_steps=4, warmup_steps=0)
    assert [learning_rate(step, plan, 1.0) for step in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]


class Projection(paddle.nn.Layer):
    """What an objective may own: a matrix, its bias, and a norm."""

    def __init__(self):
        super().__init__()
        self.linear = paddle.nn.Linear(2, 3)
        self.norm = paddle.nn.LayerNorm(3)
        randomise(self, seed=4)


def test_decay_shrinks_matrices_of_model_and_objective_alone():
    model, projection = tiny_model(tiny_config()), Projection()
    config = TrainConfig(learning_rate=0.1, weight_decay=0.5)
    optimizer = make_optimizer(model, projection.named_parameters(), config)
    named = [*model.named_parameters(), *projection.named_parameters()]
    before = [parameter.numpy().copy() for _, parameter in named]
    for _, parameter in named:
        parameter.grad = paddle.zeros_like(parameter)
    optimizer.step()
    decayed = []
    for (name, parameter), values in zip(named, before, strict=True):
        if np.array_equal(parameter.numpy(), values):
            continue
        decayed.append(name)
        # Zero gradient: no step but w - lr * decay * w.
        np.testing.assert_allclose(parameter.numpy(), 0.95 * values, rtol=1e-6)
    matrices = [name for (name, _), values in zip(named, before, strict=True) if values.ndim == 2]
    assert decayed == matrices
    assert len(decayed) == 3 + 2 * 6 + 2 + 1
    assert decayed[-1] == "linear.weight"


@pytest.mark.parametrize(
    ("max_grad_norm", "factor"),
    [
        (1.0, 0.2),  # the gradient's norm is |(3, 4)| = 5
        (10.0, 1.0),  # below the limit: left alone
        (0.0, 1.0),  # 0: never
    ],
)
def test_the_gradient_is_clipped_by_the_norm_over_model_and_objective(max_grad_norm, factor):
    model = paddle.nn.Linear(1, 1, bias_attr=False)
    extra = paddle.create_parameter([1, 1], "float32")
    for parameter in (model.weight, extra):
        parameter.set_value(np.array([[0.25]], "float32"))
    config = TrainConfig(learning_rate=0.5, adam_epsilon=1.0, max_grad_norm=max_grad_norm)
    optimizer = make_optimizer(model, [("extra", extra)], config)
    for parameter, grad in [(model.weight, 3.0), (extra, -4.0)]:
        parameter.grad = paddle.to_tensor([[grad]])
    optimizer.step()
    for parameter, grad in [(model.weight, 3.0), (extra, -4.0)]:
        # First step of Adam: m_hat = g and sqrt(v_hat) = |g|; a large epsilon lets g's size show.
        clipped = factor * grad
        expected = 0.25 - 0.5 * clipped / (abs(clipped) + 1.0)
        assert parameter.item() == pytest.approx(expected, rel=1e-5)
