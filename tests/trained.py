"""A training that stands between two steps, without a run around it."""

from __future__ import annotations

import numpy as np

from ofa_bert.config import TrainConfig
from ofa_bert.metrics_log import MetricsLog
from ofa_bert.optimizer import make_optimizer
from ofa_bert.training_state import Trained
from tests.tiny import paddle, tiny_model


class Projection(paddle.nn.Layer):
    """An objective's own parameters; one has the name of the model's classifier."""

    def __init__(self, value):
        super().__init__()
        self.weight = self.create_parameter([2, 3])
        self.weight.set_value(np.full([2, 3], value, "float32"))
        self.classifier = paddle.nn.Linear(2, 3)


def trained_for(steps, value=0.5):
    """A model and an objective after some steps with gradients that are known."""
    model, objective = tiny_model(seed=int(10 * value)), Projection(value)
    parameters = [*model.parameters(), *objective.parameters()]
    optimizer = make_optimizer(model, objective.named_parameters(), TrainConfig(learning_rate=0.1))
    for step in range(steps):
        for number, parameter in enumerate(parameters):
            parameter.grad = paddle.full_like(parameter, 1e-3 * (step + number + 1))
        optimizer.step()
        optimizer.clear_grad()
    return Trained(model, objective, optimizer, MetricsLog(None))
