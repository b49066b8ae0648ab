"""Losses, gradients and updates of a step, against NumPy in float64."""

import itertools

import numpy as np
import paddle
import pytest

from ofa_bert.config import TrainConfig
from ofa_bert.data.batches import training_steps
from ofa_bert.distill.student import SubnetStudent
from ofa_bert.distributed import Ranks
from ofa_bert.extraction import extract
from ofa_bert.optimizer import make_optimizer
from ofa_bert.subnet import Subnet, full_subnet
from ofa_bert.training import Parts, train, train_step
from tests.oracles import adamw, bert_of, distillation_terms, weights_of
from tests.tiny import tiny_config, tiny_dataset, tiny_model
from tests.training.parts import NO_DROPOUT, ofa_parts, scores


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
        expected = distillation_terms(extract(before, subnet), parts.teacher.model, batches[0])
        assert name.startswith("width_")
        assert set(found) == set(expected)
        for term in expected:
            assert found[term] == pytest.approx(expected[term], rel=1e-4), (name, term)


def test_the_layers_that_are_kept_learn_from_the_same_layers_of_the_teacher():
    config = tiny_config(**NO_DROPOUT)
    parts, _ = ofa_parts(config)
    last = Subnet(layers=(1,), num_heads=(2,), num_neurons=(9,))
    student = SubnetStudent(parts.student.model, {"full": full_subnet(config), "last": last})
    ((batch,),) = training_steps(tiny_dataset(6), batch_size=6, seed=0, epoch=0)
    arrays = {
        name: getattr(batch, name).numpy()
        for name in ("input_ids", "token_type_ids", "attention_mask")
    }
    _, (embedded, answer) = bert_of(extract(student.model, last), arrays)
    _, (from_embedded, _, from_last) = bert_of(parts.teacher.model, arrays)
    squares = sum(
        ((ours - theirs) ** 2).sum()
        for states in [(embedded, from_embedded), (answer, from_last)]
        for ours, theirs in zip(*states, strict=True)
    )
    optimizer = make_optimizer(student.model, [], TrainConfig())
    parts = Parts(student, parts.teacher, parts.objective)
    terms = train_step(parts, [batch], optimizer, TrainConfig(), step=1)
    expected = 0.1 * squares / (arrays["attention_mask"].sum() * config.hidden_size)
    assert terms["last"]["rep"] == pytest.approx(expected, rel=1e-4)


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
            sides.append(distillation_terms(cut, teacher, batch, weights=weights)[term])
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


def test_a_step_trains_with_dropout_whatever_mode_the_student_was_left_in():
    def loss(rate):
        config = tiny_config(hidden_dropout_prob=rate, attention_probs_dropout_prob=rate)
        parts, _ = ofa_parts(config)
        assert not parts.student.model.training
        (batches,) = training_steps(tiny_dataset(6), batch_size=6, seed=0, epoch=0)
        optimizer = make_optimizer(parts.student.model, [], TrainConfig())
        terms = train_step(parts, batches, optimizer, TrainConfig(), step=1)
        assert all(layer.training for layer in parts.student.model.sublayers())
        return terms["width_1.0"]["logit"]

    # The same weights: half of all activations are hidden from one of them.
    assert loss(0.5) != pytest.approx(loss(0.0), rel=1e-3)


def test_each_process_draws_its_own_dropout(monkeypatch):
    """On the same rows: with the same masks, more processes would average out less of them."""
    monkeypatch.setattr(paddle.distributed, "all_reduce", lambda tensor: None)
    monkeypatch.setattr(
        paddle.distributed, "all_gather_object", lambda parts, terms: parts.append(terms)
    )

    def terms_of(rank):
        parts, _ = ofa_parts(tiny_config(hidden_dropout_prob=0.5))
        ((batch,),) = training_steps(tiny_dataset(6), batch_size=6, seed=0, epoch=0)
        optimizer = make_optimizer(parts.student.model, [], TrainConfig())
        return train_step(parts, [batch], optimizer, TrainConfig(), 1, Ranks(rank, 2))

    first, second = terms_of(0), terms_of(1)
    assert terms_of(1) == second  # to the bit: only masks can make a difference
    for name, values in first.items():
        for term, value in values.items():
            assert second[name][term] != value, (name, term)
