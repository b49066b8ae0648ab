from argparse import Namespace

import numpy as np
import pytest

import ofa_bert as ofa
from benchmarks import models, recipes, step_data, tries, workers
from ofa_bert.nn import encoder, layer_norm, linear
from tests.tiny import tiny_config, tiny_model


@pytest.fixture
def model():
    # 6 heads of 8, so that every width of the benchmark is whole.
    return models.load("tiny")[0]


def test_matrix_products_of_a_step_by_hand():
    config = tiny_config(6, num_layers=1, head_dim=2, num_neurons=12, num_classes=2)
    contender = recipes.Ours(tiny_model(config), batch_size=3)
    rows = step_data.rows_of(config, np.full(3, 5))
    (batch,) = step_data.training_batches(rows, 3)

    def forward(heads, neurons, hidden=12, length=5):
        projections = length * hidden * 2 * heads * 4 + length * hidden * neurons * 2
        attention = 2 * length * length * 2 * heads
        return projections + attention + hidden * hidden + hidden * 2

    macs = forward(6, 12)  # the teacher
    macs += 3 * sum(
        forward(heads, neurons) for heads, neurons in [(6, 12), (5, 10), (4, 8), (3, 6)]
    )
    assert contender.gflop_of_step(batch) == pytest.approx(2 * 3 * macs / 1e9)


def test_a_step_in_parts_is_the_same_step(model):
    plain = step_data.without_dropout(model)
    batches = step_data.training_batches(step_data.dataset(plain.config, 4), 4)
    whole, parted = (recipes.Ours(plain, batch_size=4) for _ in range(2))
    for batch in batches[:2]:
        whole.step(batch)
        parts = parted.parts_of_step(batch)
    for name, value in whole.student.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), parted.student.state_dict()[name].numpy())
    step = parts.pop("step")
    assert step == pytest.approx(sum(parts.values()))
    heads = (6, 5, 4, 3)
    expected = {f"{what}, {n} heads" for what in ("forward", "backward") for n in heads}
    assert set(parts) == expected | {"teacher", "losses", "optimizer", "other"}


def test_the_first_width_is_the_teacher_before_a_step():
    assert recipes.without_first([0.5, 0.75, 1.5]) == [0.0, 0.25, 1.0]


def test_batches_of_the_benchmarks(model):
    rows = step_data.dataset(model.config, 4)
    assert len(rows) == 4 * step_data.NUM_BATCHES
    assert rows.lengths.mean() == pytest.approx(step_data.MEAN_LENGTH, abs=5)
    for make in step_data.BATCHES.values():
        batches = make(rows, 4)
        seen = np.concatenate([batch.indices for batch in batches])
        assert sorted(seen.tolist()) == list(range(len(rows)))
        for batch in batches:
            lengths = rows.lengths[batch.indices]
            assert batch.input_ids.shape == [4, lengths.max()]
            assert batch.step_tokens == lengths.sum()
    batch = step_data.unpadded_batch(model.config, 3)
    assert batch.step_tokens == 3 * step_data.MEAN_LENGTH == batch.input_ids.size


@pytest.mark.parametrize(
    ("change", "replaced"),
    [
        ("linear", {linear: "trains_on_cpu"}),
        ("layer_norm", {layer_norm: "trains_on_cpu"}),
        ("spread", {linear: "spread_row", layer_norm: "spread_column"}),
        ("mask", {encoder: "_bias_of_layers"}),
    ],
)
def test_a_variant_computes_what_ours_computes(model, monkeypatch, change, replaced):
    plain = step_data.without_dropout(model)
    batches = step_data.training_batches(step_data.dataset(plain.config, 4), 4)[:2]
    contender = recipes.Ours(plain, batch_size=4)
    expected = [loss for batch in batches for loss in contender.step(batch)]
    ours = {module: getattr(module, name) for module, name in replaced.items()}
    for module, name in replaced.items():
        monkeypatch.setattr(module, name, ours[module])  # put back afterwards
    tries.without_ours(change)
    assert all(getattr(module, name) is not ours[module] for module, name in replaced.items())
    contender = recipes.Ours(plain, batch_size=4)
    found = [loss for batch in batches for loss in contender.step(batch)]
    # A loss is the difference of two numbers near 1: rounding alone makes up to 1e-7.
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_workers_compute_what_ours_computes(model):
    plain = step_data.without_dropout(model)
    batches = step_data.training_batches(step_data.dataset(plain.config, 4), 4)
    contenders = [recipes.Ours(plain, 4), workers.Workers(plain, 4, count=2)]
    for batch in batches[:3]:  # later losses depend on the earlier steps' gradients
        ours, theirs = (contender.step(batch) for contender in contenders)
        # A loss is the difference of two numbers near 1: rounding alone makes up to 1e-7.
        assert theirs == pytest.approx(ours, rel=1e-4, abs=1e-7)


@pytest.mark.slow
def test_the_predecessor_computes_the_same_losses():
    pytest.importorskip("paddlenlp")
    pytest.importorskip("paddleslim")
    from benchmarks import train_step

    assert train_step.check_losses(Namespace(model="tiny", batch_size=4)) < train_step.TOLERANCE


def test_the_widths_of_both_recipes_are_the_published_ones():
    config = models.random_config("minilm")
    subnets = ofa.resolve_widths(config, recipes.WIDTHS)
    assert [subnet.num_heads[0] for subnet in subnets.values()] == [12, 10, 8, 6]
    assert [subnet.num_neurons[0] for subnet in subnets.values()] == [1536, 1280, 1024, 768]
