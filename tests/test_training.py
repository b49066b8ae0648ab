import itertools
import json
import os
import random
import signal

import numpy as np
import paddle
import pytest

from ofa_bert.checkpointing import Checkpoints
from ofa_bert.config import ObjectiveConfig, TrainConfig
from ofa_bert.data.batches import training_steps
from ofa_bert.distill.objective import DistillObjective, LabelObjective
from ofa_bert.distill.student import SubnetStudent, width_student
from ofa_bert.distill.teacher import ModelTeacher, NoTeacher
from ofa_bert.errors import InputError
from ofa_bert.extraction import extract
from ofa_bert.metrics_log import MetricsLog
from ofa_bert.nn.dropout import reseed
from ofa_bert.optimizer import make_optimizer
from ofa_bert.stopping import Stopped
from ofa_bert.subnet import full_subnet, resolve_widths
from ofa_bert.training import Parts, _seed_of, train, train_step
from ofa_bert.training_state import model_arrays
from tests.oracles import adamw, bert_of, log_softmax, softmax, weights_of
from tests.tiny import randomise, tiny_config, tiny_dataset, tiny_model

WIDTHS = (1.0, 0.75, 0.5)
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def scores(value=0.5):
    return {"full": {"accuracy": value, "score": value}}


def ofa_parts(config, *, same=False, **objective):
    teacher, student = tiny_model(config), tiny_model(config)
    if not same:
        randomise(student, seed=5)
    widths = resolve_widths(config, WIDTHS)
    loss = DistillObjective(ObjectiveConfig(**objective), regression=config.is_regression)
    return Parts(width_student(student, widths), ModelTeacher(teacher), loss), widths


def numpy_terms(
    student_model, teacher_model, batch, lambda_rep=0.1, lambda_label=0.3, weights=None
):
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
    return {"rep": lambda_rep * rep, "logit": logit, "label": lambda_label * label}


@pytest.mark.parametrize("num_classes", [3, 1])
def test_loss_terms_of_every_width_equal_numpy(num_classes):
    config = tiny_config(num_classes=num_classes, **NO_DROPOUT)
    parts, widths = ofa_parts(config, lambda_label=0.3)
    dataset = tiny_dataset(6, num_classes=num_classes)
    (batches,) = training_steps(dataset, batch_size=6, seed=0, epoch=0)
    before = extract(parts.student.model, full_subnet(config))
    optimizer = make_optimizer(parts.student.model, [], TrainConfig())
    terms = train_step(parts, batches, optimizer, TrainConfig(), step=1)
    for subnet, (name, found) in zip(widths.values(), terms.items(), strict=True):
        expected = numpy_terms(extract(before, subnet), parts.teacher.model, batches[0])
        assert name.startswith("width_")
        assert set(found) == set(expected)
        for term in expected:
            assert found[term] == pytest.approx(expected[term], rel=1e-4), (name, term)


@pytest.mark.parametrize("num_classes", [3, 1])
def test_gradients_of_every_term_and_width_equal_central_differences_of_numpy(num_classes):
    """Along a random direction of all weights, of which a width feels what it uses."""
    config = tiny_config(num_classes=num_classes, **NO_DROPOUT)
    parts, widths = ofa_parts(config, lambda_label=0.3)
    model, teacher = parts.student.model, parts.teacher.model
    dataset = tiny_dataset(6, num_classes=num_classes)
    ((batch,),) = training_steps(dataset, batch_size=6, seed=0, epoch=0)
    generator, step = np.random.default_rng(7), 1e-4
    for subnet, term in itertools.product(widths.values(), ("rep", "logit", "label")):
        direction = {n: generator.normal(size=p.shape) for n, p in model.named_parameters()}
        length = np.sqrt(sum((d**2).sum() for d in direction.values()))
        direction = {name: d / length for name, d in direction.items()}
        model.clear_gradients()
        output = parts.student(batch, subnet)
        parts.objective(output, parts.teacher(batch), batch, subnet)[term].backward()
        grads = {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}
        found = sum((grad * direction[name]).sum() for name, grad in grads.items())

        cut = extract(model, subnet)
        sides = []
        for sign in (1, -1):
            weights = {
                name: w + sign * step * direction[name][tuple(slice(n) for n in w.shape)]
                for name, w in weights_of(cut).items()
            }
            sides.append(numpy_terms(cut, teacher, batch, weights=weights)[term])
        expected = (sides[0] - sides[1]) / (2 * step)
        # Errors of float32, of some 1e-7 of the gradient, average out along the direction.
        size = np.sqrt(sum((grad**2).sum() for grad in grads.values()))
        assert found == pytest.approx(expected, abs=1e-7 * size), (subnet, term)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_two_steps_equal_the_same_update_in_numpy(accumulation):
    """Each width's gradient comes from its cut-out sub-model; NumPy adds, clips and updates."""
    config = tiny_config(**NO_DROPOUT)
    parts, widths = ofa_parts(config)
    settings = TrainConfig(
        batch_size=4 // accumulation,
        gradient_accumulation_steps=accumulation,
        learning_rate=1e-2,
        weight_decay=0.1,
        max_grad_norm=0.5,
        max_steps=2,
    )
    dataset = tiny_dataset(8)
    weights, state = weights_of(parts.student.model), {}
    decay = {name: 0.1 * (w.ndim == 2 or "weight" in name) for name, w in weights.items()}
    decay = {name: value * ("norm" not in name) for name, value in decay.items()}
    reference = tiny_model(config)
    whole_steps = training_steps(dataset, batch_size=4, seed=settings.seed, epoch=0)
    for number, (batch,) in enumerate(whole_steps):
        reference.set_state_dict({n: w.astype("float32") for n, w in weights.items()})
        grads = {name: np.zeros_like(w) for name, w in weights.items()}
        for subnet in widths.values():
            cut = extract(reference, subnet)
            cut_parts = Parts(SubnetStudent(cut), parts.teacher, parts.objective)
            output = cut_parts.student(batch, full_subnet(cut.config))
            terms = parts.objective(output, parts.teacher(batch), batch, subnet)
            sum(terms.values()).backward()
            for name, parameter in cut.named_parameters():
                at = tuple(slice(n) for n in parameter.shape)
                grads[name][at] += parameter.grad.numpy()
        norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
        assert norm > 0.5
        grads = {name: g * 0.5 / norm for name, g in grads.items()}
        # Linear decay over two steps: the whole rate, then half of it.
        rate = 1e-2 * (2 - number) / 2
        weights |= adamw(weights, grads, state, step=number + 1, lr=rate, decay=decay, eps=1e-8)

    train(parts, dataset, settings, evaluate=scores)
    for name, parameter in parts.student.model.named_parameters():
        if name.endswith("k_proj.bias"):
            # Softmax does not see it: its gradient is 0, and Adam blows the rounding noise up.
            continue
        # Adam divides by sqrt(v): where a gradient is near 0, float32 noise shows in the update.
        np.testing.assert_allclose(parameter.numpy(), weights[name], rtol=1e-3, atol=2e-4)


def test_width_1_has_zero_loss_before_the_first_step():
    config = tiny_config(**NO_DROPOUT)
    parts, _ = ofa_parts(config, same=True)
    (batches,) = training_steps(tiny_dataset(6), batch_size=6, seed=0, epoch=0)
    optimizer = make_optimizer(parts.student.model, [], TrainConfig())
    terms = train_step(parts, batches, optimizer, TrainConfig(), step=1)
    assert terms["width_1.0"] == {"rep": 0.0, "logit": 0.0}
    assert terms["width_0.5"]["rep"] > 0.0


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


def finetune_parts(seed=0, **changes):
    model = tiny_model(tiny_config(**changes), seed)
    return Parts(SubnetStudent(model), NoTeacher(), LabelObjective(regression=False))


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


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_saves_and_does_not_evaluate(tmp_path, signum):
    parts = finetune_parts()
    checkpoints = Checkpoints(tmp_path / "checkpoints")

    class Signals(MetricsLog):
        def add(self, *args):
            super().add(*args)
            if self.pending()["steps"] == 2:
                os.kill(os.getpid(), signum)

    config = TrainConfig(batch_size=4, max_steps=9, save_steps=5)
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
