"""A run that was stopped goes on to the same bits, and what that rests on."""

import json
import random

import numpy as np
import paddle
import pytest

from ofa_bert.checkpointing import Checkpoints
from ofa_bert.config import TrainConfig
from ofa_bert.data.batches import training_steps
from ofa_bert.metrics_log import MetricsLog
from ofa_bert.nn.dropout import reseed
from ofa_bert.optimizer import make_optimizer
from ofa_bert.training import Parts, _seed_of, train, train_step
from ofa_bert.training_state import model_arrays
from tests.oracles import weights_of
from tests.tiny import tiny_config, tiny_dataset
from tests.training.parts import finetune_parts, ofa_parts, scores


@pytest.mark.parametrize(
    ("logging_steps", "logged"), [(1, list(range(1, 9))), (3, [3, 6, 8]), (500, [8])]
)
def test_a_resumed_run_gives_the_same_bits(tmp_path, logging_steps, logged):
    config = TrainConfig(
        batch_size=4, num_train_epochs=2, save_steps=2, logging_steps=logging_steps
    )
    dataset = tiny_dataset(14)

    def run(folder, stop_at=None):
        parts, _ = ofa_parts(tiny_config())  # with dropout
        folder.mkdir(exist_ok=True)
        calls = []

        def evaluate():
            calls.append(1)
            if stop_at is not None and len(calls) > stop_at:
                raise KeyboardInterrupt
            value = float(weights_of(parts.student.model)["classifier.bias"].sum())
            return {name: {"score": value} for name in parts.student.subnets(1)}

        best = train(
            parts,
            dataset,
            config,
            evaluate=evaluate,
            checkpoints=Checkpoints(folder / "checkpoints"),
            metrics_log=MetricsLog(folder / "metrics.jsonl"),
        )
        return model_arrays(parts.student.model), best

    whole, best = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", stop_at=2)
    resumed, best_resumed = run(tmp_path / "parts")
    assert best_resumed == best
    for name, values in whole.items():
        np.testing.assert_array_equal(values, resumed[name])
    lines = [
        [json.loads(line) for line in (tmp_path / d / "metrics.jsonl").read_text().splitlines()]
        for d in ("whole", "parts")
    ]
    timed = {"seconds_per_step", "tokens_per_second"}
    whole_lines, parts_lines = (
        [{k: v for k, v in line.items() if k not in timed} for line in run] for run in lines
    )
    assert [line["step"] for line in whole_lines] == logged
    assert whole_lines == parts_lines


class WithProjection(paddle.nn.Layer):
    """An objective that trains parameters of its own."""

    def __init__(self):
        super().__init__()
        self.projection = paddle.nn.Linear(12, 12)
        self.projection.weight.set_value(np.eye(12, dtype="float32"))

    def forward(self, student, teacher, batch, subnet):
        hidden, target = student.hidden_states[-1], teacher.hidden_states[-1]
        return {"projected": ((self.projection(hidden) - target) ** 2).mean()}


def test_what_an_objective_owns_is_resumed_to_the_same_bits(tmp_path):
    config = TrainConfig(batch_size=4, max_steps=4, save_steps=2, learning_rate=1e-2)

    def run(folder, stop=False):
        folder.mkdir(exist_ok=True)
        parts, _ = ofa_parts(tiny_config())
        parts = Parts(parts.student, parts.teacher, WithProjection())
        calls = iter(range(9))

        def evaluate():
            if stop and next(calls) == 1:
                raise KeyboardInterrupt
            return {"all": {"score": 0.5}}

        checkpoints = Checkpoints(folder / "checkpoints")
        train(parts, tiny_dataset(12), config, evaluate=evaluate, checkpoints=checkpoints)
        return parts.objective.projection.weight.numpy()

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", stop=True)
    np.testing.assert_array_equal(run(tmp_path / "parts"), whole)
    assert np.abs(whole - np.eye(12)).max() > 1e-3


def test_a_step_depends_on_the_seed_its_number_and_the_process_alone():
    """So no generator's state needs to be saved: not paddle's, not NumPy's, not Python's."""

    def terms(noise, rank=0, step=7):
        parts, _ = ofa_parts(tiny_config())
        (batches,) = training_steps(tiny_dataset(6), batch_size=6, seed=0, epoch=0)
        optimizer = make_optimizer(parts.student.model, [], TrainConfig())
        paddle.rand([noise])
        np.random.seed(noise)
        random.seed(noise)
        reseed(parts.student.model, _seed_of(42, step, rank))
        parts.student.model.train()
        subnet = next(iter(parts.student.subnets(step).values()))
        noisy = parts.student(batches[0], subnet).logits.numpy()
        return train_step(parts, batches, optimizer, TrainConfig(), step), noisy.tolist()

    assert terms(1) == terms(10)
    assert terms(1)[1] != terms(1, rank=1)[1]
    assert terms(1) != terms(1, step=8)


def test_training_draws_from_no_global_generator():
    states = random.getstate(), [str(part) for part in np.random.get_state()]
    parts = finetune_parts()
    train(parts, tiny_dataset(9), TrainConfig(batch_size=4, max_steps=3), evaluate=scores)
    assert (random.getstate(), [str(part) for part in np.random.get_state()]) == states
