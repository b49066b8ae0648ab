"""AdamW and the learning rate of each step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import paddle
from paddle import nn

from ofa_bert.config import TrainConfig
from ofa_bert.rounding import round_down, round_up
from ofa_bert.rules import require


@dataclass(frozen=True)
class StepPlan:
    """How many optimizer steps a run takes."""

    steps_per_epoch: int
    total_steps: int
    warmup_steps: int


def plan_steps(steps_per_epoch: int, config: TrainConfig) -> StepPlan:
    """Count the steps of a run; ``max_steps`` wins over ``num_train_epochs``.

    Raises:
        InputError: if the warm-up takes the whole run: of one step the rate would be 0.
    """
    total = config.max_steps
    if total == -1:
        total = max(1, round_up(steps_per_epoch * config.num_train_epochs))
    warmup = config.warmup_steps or round_down(total * config.warmup_ratio)
    require(
        warmup < total,
        f"warmup_steps must be below {total}, the steps of the run; got {warmup}; "
        "lower it, or pass --warmup_steps 0 --warmup_ratio 0.1",
    )
    return StepPlan(steps_per_epoch, total, warmup)


def learning_rate(step: int, plan: StepPlan, peak: float) -> float:
    """Rise linearly to ``peak`` over the warm-up, then fall linearly to 0 at the end.

    Args:
        step: steps already taken, from 0.
        plan: the run's step counts.
        peak: the highest learning rate.
    """
    if step < plan.warmup_steps:
        return peak * step / plan.warmup_steps
    left = max(0, plan.total_steps - step)
    return peak * left / max(1, plan.total_steps - plan.warmup_steps)


def make_optimizer(
    model: nn.Layer, extra_parameters: Iterable[tuple[str, paddle.Tensor]], config: TrainConfig
) -> paddle.optimizer.AdamW:
    """Make AdamW over a model and an objective's own parameters, which come with their names.

    The gradient is clipped by its global norm; biases and norms are not decayed.
    """
    named = [*model.named_parameters(), *extra_parameters]
    decayed = {
        parameter.name
        for name, parameter in named
        if not name.endswith("bias") and "norm" not in name
    }
    clip = nn.ClipGradByGlobalNorm(config.max_grad_norm) if config.max_grad_norm else None
    return paddle.optimizer.AdamW(
        learning_rate=config.learning_rate,
        epsilon=config.adam_epsilon,
        parameters=[parameter for _, parameter in named],
        weight_decay=config.weight_decay,
        apply_decay_param_fun=lambda name: name in decayed,
        grad_clip=clip,
    )
