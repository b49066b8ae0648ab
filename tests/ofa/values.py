"""Random numbers and weights, and layers run on them beside NumPy."""

from __future__ import annotations

import numpy as np

from tests.tiny import paddle, randomise


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32")


def randomised(model):
    """Draw every parameter as ``randomise`` does, so that variances and matrices still are such."""
    randomise(model)
    for name, parameter in model.named_parameters():
        if name.endswith("_variance"):
            parameter.set_value(np.abs(parameter.numpy()) + 0.5)
        elif name.endswith("_matrix"):
            parameter.set_value(np.eye(len(parameter), dtype="float32") + parameter.numpy())
    return model


def close(actual, expected, atol=1e-5):
    np.testing.assert_allclose(actual.numpy(), expected, atol=atol, rtol=1e-5)


def run(layer, x, **sizes):
    return layer(paddle.to_tensor(x), **sizes)
