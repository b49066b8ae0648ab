"""What ends a run before its time, and what it leaves: no numbers, a signal, too little memory."""

import os
import signal

import numpy as np
import pytest
from safetensors.numpy import load_file

from ofa_bert.checkpointing import Checkpoints
from ofa_bert.config import TrainConfig
from ofa_bert.distill.objective import LabelObjective
from ofa_bert.distill.teacher import NoTeacher
from ofa_bert.errors import InputError
from ofa_bert.metrics_log import MetricsLog
from ofa_bert.stopping import Stopped
from ofa_bert.training import Parts, train
from ofa_bert.training_state import model_arrays
from tests.tiny import tiny_dataset
from tests.training.parts import finetune_parts, scores


def poison(parts):
    parts.student.model.classifier.bias.set_value(np.full(3, np.nan, "float32"))
    return scores()


def test_a_loss_that_is_no_number_names_the_step_and_keeps_the_checkpoint(tmp_path):
    parts = finetune_parts()

    class PoisonedAfter(Checkpoints):
        def save(self, *args):
            super().save(*args)
            poison(parts)

    checkpoints = PoisonedAfter(tmp_path / "checkpoints")
    config = TrainConfig(batch_size=4, max_steps=3, save_steps=1)
    message = (
        r"loss label of full is nan at step 2 \(training rows .*\); checkpoint step_1 is kept; "
    )
    with pytest.raises(InputError, match=message):
        train(parts, tiny_dataset(12), config, evaluate=scores, checkpoints=checkpoints)
    assert sorted(p.name for p in checkpoints.directory.iterdir()) == ["step_1"]


def test_an_infinite_loss_is_no_number_either():
    parts = finetune_parts()

    class Infinite(LabelObjective):
        def __call__(self, *args):
            return {"label": super().__call__(*args)["label"] * np.inf}

    with pytest.raises(InputError, match=r"loss label of full is inf at step 1 \(training rows"):
        train(
            Parts(parts.student, NoTeacher(), Infinite(regression=False)),
            tiny_dataset(12),
            TrainConfig(batch_size=4, max_steps=3),
            evaluate=scores,
        )


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_loss_that_is_no_number_before_anything_was_saved(tmp_path, in_memory):
    parts = finetune_parts()
    poison(parts)
    checkpoints = None if in_memory else Checkpoints(tmp_path / "checkpoints")
    message = (
        r"is nan at step 1 \(training rows .*\); no checkpoint was saved; lower --learning_rate"
    )
    with pytest.raises(InputError, match=message):
        train(
            parts,
            tiny_dataset(12),
            TrainConfig(batch_size=4, max_steps=3),
            evaluate=scores,
            checkpoints=checkpoints,
        )


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_score_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(tmp_path, in_memory):
    found = iter([0.5, float("nan")])
    config = TrainConfig(batch_size=4, max_steps=3, save_steps=1)
    checkpoints = Checkpoints(None if in_memory else tmp_path / "checkpoints")
    kept = "no checkpoint was saved" if in_memory else "checkpoint step_1 is kept"
    message = rf"score of full is nan at step 2: its answers overflow; {kept}; lower --learning"
    with pytest.raises(InputError, match=message):
        train(
            finetune_parts(),
            tiny_dataset(12),
            config,
            evaluate=lambda: {"full": {"score": next(found)}},
            checkpoints=checkpoints,
        )


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    """The loss was finite, its gradient was not."""
    parts = finetune_parts()
    config = TrainConfig(batch_size=4, max_steps=3, save_steps=1)
    with pytest.raises(InputError, match=r"weights classifier.bias hold NaN .* after step 1; "):
        train(
            parts,
            tiny_dataset(12),
            config,
            evaluate=lambda: poison(parts),
            checkpoints=Checkpoints(tmp_path / "checkpoints"),
        )
    assert not (tmp_path / "checkpoints").exists()


def test_a_data_set_without_rows_is_refused():
    with pytest.raises(InputError, match="training needs at least one row; got none"):
        train(finetune_parts(), tiny_dataset(0), TrainConfig(), evaluate=scores)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_saves_and_does_not_evaluate_and_the_run_can_go_on(tmp_path, signum):
    parts = finetune_parts()
    checkpoints = Checkpoints(tmp_path / "checkpoints")

    class Signals(MetricsLog):
        def add(self, *args):
            super().add(*args)
            if self.pending()["steps"] == 2:
                os.kill(os.getpid(), signum)

    config = TrainConfig(batch_size=4, max_steps=4, save_steps=3)
    message = rf"stopped by {signum.name}: step 2 is done, all is saved; type the same .* --resume"
    with pytest.raises(Stopped, match=message):
        train(
            parts,
            tiny_dataset(12),
            config,
            evaluate=lambda: pytest.fail("evaluated"),
            checkpoints=checkpoints,
            metrics_log=Signals(None),
        )
    assert [path.name for path in checkpoints.directory.iterdir()] == ["step_2"]

    # It goes on from there, although nothing was evaluated yet and so no weights are the best.
    resumed, whole, evaluated = finetune_parts(seed=1), finetune_parts(), []

    def evaluate():
        evaluated.append(1)
        return scores()

    best = train(resumed, tiny_dataset(12), config, evaluate=evaluate, checkpoints=checkpoints)
    assert (best.step, len(evaluated)) == (3, 2)  # at steps 3 and 4, of equal scores
    train(whole, tiny_dataset(12), config, evaluate=scores)
    for name, values in model_arrays(whole.student.model).items():
        np.testing.assert_array_equal(model_arrays(resumed.student.model)[name], values)


def test_a_signal_while_the_last_step_is_saved_ends_the_run_too(tmp_path):
    class Signals(Checkpoints):
        def save(self, step, *args):
            super().save(step, *args)
            if step == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    checkpoints = Signals(tmp_path / "checkpoints")
    config, values = TrainConfig(batch_size=4, max_steps=2), []

    def go():
        parts = finetune_parts()
        best = train(parts, tiny_dataset(8), config, evaluate=scores, checkpoints=checkpoints)
        values.append(parts.student.model.classifier.weight.numpy())
        return best

    with pytest.raises(Stopped, match=r"SIGTERM: step 2 is done, all is saved; .* --resume"):
        go()
    assert [path.name for path in checkpoints.directory.iterdir()] == ["step_2"]
    # Nothing is left to train: the same command only gives what was saved.
    assert go().step == 2
    kept = load_file(checkpoints.directory / "step_2" / "model.safetensors")
    np.testing.assert_array_equal(values[0], kept["classifier.weight"])


def test_a_step_that_does_not_fit_says_how_large_it_was():
    parts = finetune_parts()

    class TooLarge:
        def __call__(self, *args):
            raise MemoryError

        def named_parameters(self):
            return []

    rows = tiny_dataset(9)  # one step of three batches, the last the longest
    expected = rf"taking step 1: a batch of 3 rows of {rows.lengths.max()} tokens does not fit; "
    config = TrainConfig(batch_size=3, gradient_accumulation_steps=3)
    with pytest.raises(InputError, match=f"out of memory while {expected}lower --batch_size"):
        train(Parts(parts.student, NoTeacher(), TooLarge()), rows, config, evaluate=scores)
