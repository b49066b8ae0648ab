"""What a whole run trains, what it leaves alone, and which of its weights it keeps."""

import numpy as np
import pytest

from ofa_bert.checkpointing import Checkpoints
from ofa_bert.config import TrainConfig
from ofa_bert.errors import InputError
from ofa_bert.metrics_log import MetricsLog
from ofa_bert.nn.dropout import Dropout
from ofa_bert.training import Parts, train
from ofa_bert.training_state import model_arrays
from tests.oracles import weights_of
from tests.tiny import tiny_config, tiny_dataset
from tests.training.parts import NO_DROPOUT, finetune_parts, ofa_parts, scores


def test_the_teacher_stays_in_eval_mode_and_without_gradient_through_a_whole_run():
    config = tiny_config()  # with dropout
    parts, _ = ofa_parts(config)
    teacher = parts.teacher.model
    before = weights_of(teacher)
    seen = []

    class Watched:
        model = teacher

        def __call__(self, batch):
            teacher.train()  # whoever does this does no harm
            output = parts.teacher(batch)
            seen.append((teacher.training, output.logits.stop_gradient))
            return output

    watched = Parts(parts.student, Watched(), parts.objective)
    train(watched, tiny_dataset(10), TrainConfig(batch_size=4, num_train_epochs=2), evaluate=scores)
    assert seen == [(False, True)] * 6  # once for each of 3 batches in 2 epochs
    for name, parameter in teacher.named_parameters():
        assert parameter.grad is None
        assert parameter.stop_gradient
        np.testing.assert_array_equal(parameter.numpy(), before[name])


@pytest.mark.parametrize("num_classes", [3, 1])
def test_everything_the_student_has_is_trained(num_classes):
    """The predecessor left pooler and classifier of a regression untouched."""
    config = tiny_config(num_classes=num_classes)
    parts, _ = ofa_parts(config)
    before = weights_of(parts.student.model)
    dataset = tiny_dataset(8, num_classes=num_classes)
    train(parts, dataset, TrainConfig(batch_size=4, num_train_epochs=1), evaluate=scores)
    for name, after in weights_of(parts.student.model).items():
        assert not np.array_equal(after, before[name]), name


def test_a_run_has_the_dropout_it_is_given_and_leaves_the_model_its_own():
    def trained(dropout, **changes):
        parts = finetune_parts(**changes)
        model = parts.student.model
        own = [layer.rate for layer in model.sublayers() if isinstance(layer, Dropout)]
        config = TrainConfig(batch_size=4, num_train_epochs=1, dropout=dropout)
        train(parts, tiny_dataset(8), config, evaluate=scores)
        assert own == [layer.rate for layer in model.sublayers() if isinstance(layer, Dropout)]
        return weights_of(model)

    without = trained(None, **NO_DROPOUT)
    with_own = trained(None, hidden_dropout_prob=0.5)
    for name, weights in trained(0.0, hidden_dropout_prob=0.5).items():
        np.testing.assert_array_equal(weights, without[name])
    assert any(not np.array_equal(with_own[name], without[name]) for name in without)


def test_the_model_has_its_own_dropout_after_a_run_that_failed_too():
    parts = finetune_parts(hidden_dropout_prob=0.5)

    def fail():
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        train(parts, tiny_dataset(8), TrainConfig(dropout=0.0, save_steps=1), evaluate=fail)
    assert parts.student.model.bert.embeddings.dropout.rate == 0.5


def test_fine_tuning_is_the_same_loop_and_learns():
    parts = finetune_parts()
    dataset = tiny_dataset(12)
    log = []

    class Log(MetricsLog):
        def write(self, *args):
            log.append(super().write(*args))
            return log[-1]

    config = TrainConfig(batch_size=6, num_train_epochs=20, learning_rate=5e-3, logging_steps=2)
    train(parts, dataset, config, evaluate=scores, metrics_log=Log(None))
    assert log[0]["losses"].keys() == {"full/label"}
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]


def test_the_log_is_told_the_tokens_of_whole_steps():
    dataset, told = tiny_dataset(12), []

    class Log(MetricsLog):
        def add(self, terms, tokens, seconds):
            told.append(tokens)
            super().add(terms, tokens, seconds)

    config = TrainConfig(batch_size=2, gradient_accumulation_steps=3, num_train_epochs=1)
    train(finetune_parts(), dataset, config, evaluate=scores, metrics_log=Log(None))
    assert len(told) == 2
    assert sum(told) == dataset.lengths.sum()


def test_the_best_weights_are_kept_not_the_last():
    parts = finetune_parts()
    at_step, found = {}, iter([0.3, 0.9, 0.4])

    def evaluate():
        at_step[len(at_step) + 1] = model_arrays(parts.student.model)
        return scores(next(found))

    config = TrainConfig(batch_size=4, max_steps=3, save_steps=1)
    best = train(parts, tiny_dataset(12), config, evaluate=evaluate)
    assert (best.step, best.mean_score) == (2, 0.9)
    for name, values in model_arrays(parts.student.model).items():
        np.testing.assert_array_equal(values, at_step[2][name])


def test_old_checkpoints_go_and_the_best_stays(tmp_path):
    checkpoints, parts = Checkpoints(tmp_path, keep=2), finetune_parts()
    values = iter([0.5, 0.9, 0.1, 0.2, 0.3])
    config = TrainConfig(batch_size=4, max_steps=5, save_steps=1)
    train(
        parts,
        tiny_dataset(12),
        config,
        evaluate=lambda: scores(next(values)),
        checkpoints=checkpoints,
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_2", "step_4", "step_5"]
