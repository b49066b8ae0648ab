from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score

from ofa_bert.distributed import Ranks, gather_rows
from ofa_bert.errors import InputError
from ofa_bert.evaluate import evaluate_model, evaluate_subnets, predict_logits
from ofa_bert.extraction import extract
from ofa_bert.subnet import resolve_widths
from tests.oracles import bert_of
from tests.tiny import tiny_config, tiny_dataset, tiny_model


def one_by_one(model, dataset):
    """Logits of each row alone, in order and in NumPy."""
    rows = []
    for row in range(len(dataset)):
        input_ids, token_type_ids = dataset.row(row)
        batch = {
            "input_ids": input_ids[None],
            "token_type_ids": token_type_ids[None],
            "attention_mask": np.ones((1, len(input_ids)), "int64"),
        }
        rows.append(bert_of(model, batch)[0][0])
    return np.stack(rows)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 7, 64])
def test_logits_come_in_the_order_of_the_rows(batch_size):
    model, dataset = tiny_model(), tiny_dataset(7)
    assert len(set(dataset.lengths.tolist())) > 2
    found = predict_logits(model, dataset, batch_size=batch_size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, one_by_one(model, dataset), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rows", "processes"), [(7, 3), (5, 5), (1, 3), (11, 2)])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_odd_numbers_of_rows_processes_and_batches_lose_and_double_nothing(
    rows, processes, batch_size, monkeypatch
):
    model, dataset = tiny_model(), tiny_dataset(rows)
    parts = []
    for rank in range(processes):
        monkeypatch.setattr(
            "ofa_bert.evaluate.gather_rows",
            lambda values, indices, ranks: parts.append((values, indices)),
        )
        predict_logits(model, dataset, batch_size=batch_size, ranks=Ranks(rank, processes))
    monkeypatch.undo()
    assert sorted(np.concatenate([indices for _, indices in parts]).tolist()) == list(range(rows))
    monkeypatch.setattr(
        "paddle.distributed.all_gather_object", lambda found, _: found.extend(parts)
    )
    found = gather_rows(*parts[0], Ranks(0, processes))
    np.testing.assert_allclose(found, one_by_one(model, dataset), rtol=1e-5, atol=1e-5)


def test_logits_of_a_sub_network_are_those_of_the_cut_model():
    model, dataset = tiny_model(), tiny_dataset(5)
    subnet = resolve_widths(model.config, (1.0, 0.5))[0.5]
    expected = one_by_one(extract(model, subnet), dataset)
    found = predict_logits(model, dataset, subnet=subnet)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_dropout_is_off_and_the_mode_stays():
    model, dataset = tiny_model(), tiny_dataset(5)  # with dropout
    model.train()
    found = predict_logits(model, dataset)
    assert model.training
    np.testing.assert_allclose(found, one_by_one(model, dataset), rtol=1e-5, atol=1e-5)
    assert all(parameter.grad is None for parameter in model.parameters())
    model.eval()
    predict_logits(model, dataset)
    assert not model.training


def test_metrics_equal_scikit_learns():
    model, dataset = tiny_model(tiny_config(num_classes=2)), tiny_dataset(31, num_classes=2)
    answers = one_by_one(model, dataset).argmax(-1)
    accuracy, f1 = accuracy_score(dataset.labels, answers), f1_score(dataset.labels, answers)
    assert len(set(answers)) == 2
    found = evaluate_model(model, {"dev": dataset}, ("accuracy", "f1"))
    assert found == pytest.approx({"accuracy": accuracy, "f1": f1, "score": (accuracy + f1) / 2})


def test_metrics_of_a_regression_equal_scipys():
    model, dataset = tiny_model(tiny_config(num_classes=1)), tiny_dataset(21, num_classes=1)
    answers = one_by_one(model, dataset)[:, 0]
    pearson = stats.pearsonr(answers, dataset.labels)[0]
    spearman = stats.spearmanr(answers, dataset.labels)[0]
    found = evaluate_model(model, {"dev": dataset}, ("pearson", "spearman"))
    # float32 logits.
    assert found["pearson"] == pytest.approx(pearson, abs=1e-5)
    assert found["spearman"] == pytest.approx(spearman, abs=1e-5)
    assert found["score"] == pytest.approx((pearson + spearman) / 2, abs=1e-5)


def test_two_dev_sets_are_named_and_count_the_same():
    model = tiny_model()
    dev = {"matched": tiny_dataset(9, seed=1), "mismatched": tiny_dataset(20, seed=2)}
    accuracy = {
        name: accuracy_score(rows.labels, one_by_one(model, rows).argmax(-1))
        for name, rows in dev.items()
    }
    assert accuracy["matched"] != accuracy["mismatched"]
    assert evaluate_model(model, dev, ("accuracy",)) == pytest.approx(
        {
            "accuracy_matched": accuracy["matched"],
            "accuracy_mismatched": accuracy["mismatched"],
            "score": (accuracy["matched"] + accuracy["mismatched"]) / 2,
        }
    )


def test_each_named_sub_network_gets_its_own_scores():
    model, dataset = tiny_model(), tiny_dataset(40)
    widths = resolve_widths(model.config, (1.0, 0.25))
    subnets = {f"width_{width}": subnet for width, subnet in widths.items()}
    found = evaluate_subnets(model, {"dev": dataset}, ("accuracy",), subnets)
    for name, subnet in subnets.items():
        answers = one_by_one(extract(model, subnet), dataset).argmax(-1)
        assert found[name]["accuracy"] == accuracy_score(dataset.labels, answers)
    assert found["width_1.0"] != found["width_0.25"]


def test_a_batch_that_does_not_fit_names_only_what_makes_it_smaller(monkeypatch):
    def too_large(*args, **kwargs):
        raise MemoryError

    model, rows = tiny_model(), tiny_dataset(9)
    monkeypatch.setattr(model, "forward", too_large)
    expected = (
        f"out of memory while evaluating: a batch of 9 rows of {rows.lengths.max()} tokens does "
        "not fit; free memory, or lower --max_seq_length"
    )
    with pytest.raises(InputError, match=f"^{expected}$"):
        predict_logits(model, rows)
