import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from ofa_bert.errors import InputError
from ofa_bert.metrics import compute_metrics, score

# Answers 1, 1, 1, 0, 0, 0 to labels 1, 1, 0, 1, 0, 0: two right of each class, one wrong of each.
LOGITS = np.array([[0, 1], [0, 1], [0, 1], [1, 0], [1, 0], [1, 0]], "float32")
LABELS = np.array([1, 1, 0, 1, 0, 0])


def test_class_metrics_by_hand():
    # tp = tn = 2, fp = fn = 1: accuracy 4/6, F1 2*2/(2*2+1+1), MCC (2*2 - 1*1) / sqrt(3^4).
    found = compute_metrics(("accuracy", "f1", "mcc"), LOGITS, LABELS)
    assert found == pytest.approx({"accuracy": 4 / 6, "f1": 4 / 6, "mcc": 3 / 9})


def test_f1_counts_the_second_class():
    # Answers all 1, one label of four is 1: precision 1/4, recall 1, F1 = 2/5.
    logits = np.array([[0, 1]] * 4)
    assert compute_metrics(["f1"], logits, np.array([1, 0, 0, 0])) == pytest.approx({"f1": 0.4})


@pytest.mark.parametrize("positive_class", [0, 1])
def test_f1_counts_the_class_it_is_told(positive_class):
    generator = np.random.default_rng(3)
    logits, labels = generator.normal(size=(30, 2)), generator.integers(0, 2, 30)
    expected = f1_score(labels, logits.argmax(1), pos_label=positive_class)
    found = compute_metrics(["f1"], logits, labels, positive_class)
    assert found == pytest.approx({"f1": expected})


def test_number_metrics_by_hand():
    # Answers 1, 2, 4 and labels 1, 3, 2. Around their means 7/3 and 2: covariance sum
    # (-4/3)(-1) + (-1/3)(1) + 0 = 1; squares 42/9 and 2. Ranks 1, 2, 3 and 1, 3, 2:
    # 1 - 6 * 2 / (3 * 8) = 0.5.
    logits = np.array([[1.0], [2.0], [4.0]])
    found = compute_metrics(("pearson", "spearman"), logits, np.array([1.0, 3.0, 2.0]))
    assert found == pytest.approx({"pearson": 1 / np.sqrt(42 / 9 * 2), "spearman": 0.5})


def test_a_constant_answer_or_label_correlates_with_nothing():
    found = compute_metrics(("pearson", "spearman"), np.full((3, 1), 2.5), np.array([1.0, 2, 3]))
    assert found == {"pearson": 0.0, "spearman": 0.0}
    labels = np.full(3, 2.5)
    found = compute_metrics(("pearson", "spearman"), np.array([[1.0], [2.0], [3.0]]), labels)
    assert found == {"pearson": 0.0, "spearman": 0.0}
    constant = compute_metrics(("f1", "mcc"), np.array([[1.0, 0.0]] * 3), np.zeros(3, "int64"))
    assert constant == {"f1": 0.0, "mcc": 0.0}


def test_score_is_the_mean():
    assert score({"accuracy": 0.8, "f1": 0.9}) == pytest.approx(0.85)


@given(order=st.permutations(range(6)))
def test_metrics_do_not_depend_on_the_order_of_rows(order):
    names = ("accuracy", "f1", "mcc")
    assert compute_metrics(names, LOGITS[order], LABELS[order]) == pytest.approx(
        compute_metrics(names, LOGITS, LABELS)
    )
    numbers = LOGITS[:, :1] + np.arange(6)[:, None]
    names = ("pearson", "spearman")
    assert compute_metrics(names, numbers[order], LABELS[order]) == pytest.approx(
        compute_metrics(names, numbers, LABELS)
    )


@pytest.mark.parametrize(
    ("name", "logits", "message"),
    [
        ("acuracy", LOGITS, "metric 'acuracy' is unknown; did you mean 'accuracy'"),
        ("pearson", LOGITS, "pearson must be given one logit a row; got 2"),
        ("accuracy", LOGITS[:, :1], "accuracy must be given two or more logits a row; got 1"),
        ("f1", np.zeros((6, 3)), "f1 must be given two logits a row; got 3"),
    ],
)
def test_metrics_that_do_not_fit(name, logits, message):
    with pytest.raises(InputError, match=message):
        compute_metrics([name], logits, LABELS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["accuracy", "pearson"])
def test_logits_that_are_no_numbers_are_refused(name, value):
    """An accuracy would take NaN for the largest logit; a correlation would be NaN."""
    logits = np.array([[0.5, 1.0], [2.0, 0.0], [3.0, 4.0]])[:, : 1 if name == "pearson" else 2]
    logits[[1, 2], 0] = value
    message = rf"logits must be finite numbers to be scored; got \[{value}.* for row 1 \(2 of 3 "
    with pytest.raises(InputError, match=message):
        compute_metrics([name], logits, np.array([1, 0, 1]))


def test_no_row_is_an_error():
    with pytest.raises(InputError, match="metrics need at least one labelled row"):
        compute_metrics(["accuracy"], LOGITS[:0], LABELS[:0])
