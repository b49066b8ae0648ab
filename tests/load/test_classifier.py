"""A classifier that is missing is drawn anew; one that was trained keeps its classes."""

import logging
from pathlib import Path

import numpy as np
import pytest

from ofa_bert.checkpoint.load import load_model
from ofa_bert.errors import InputError
from tests.load.saved import drop, edit_config, edit_weights


def test_base_checkpoint_gets_a_classifier_and_says_so(
    ours: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit_weights(ours, drop("classifier."))
    model = load_model(ours, num_classes=4, labels=("p", "q", "r", "s"), seed=7)
    assert model.config.num_classes == 4
    assert model.config.labels == ("p", "q", "r", "s")
    expected = np.random.default_rng(7).normal(0.0, 0.02, (12, 4)).astype("float32")
    np.testing.assert_array_equal(model.classifier.weight.numpy(), expected)
    np.testing.assert_array_equal(model.classifier.bias.numpy(), np.zeros(4))
    message = f"{ours} has no classifier: starting from random weights (seed 7); fine-tune"
    assert [message in text for text in caplog.messages] == [True]


def test_missing_pooler_too(ours: Path, caplog: pytest.LogCaptureFixture) -> None:
    edit_weights(ours, drop("classifier.", "bert.pooler."))
    model = load_model(ours)
    assert "has no pooler and no classifier" in caplog.text
    assert (model.config.num_classes, model.config.labels) == (3, ())  # a, b, c were another's
    assert 0.01 < float(model.bert.pooler.dense.weight.std()) < 0.03
    assert model.classifier.weight.shape == [12, 3]


def test_a_whole_checkpoint_logs_nothing(ours: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="ofa_bert")
    load_model(ours)
    assert caplog.messages == []


def test_classes_of_a_trained_classifier_stay(ours: Path) -> None:
    assert load_model(ours, num_classes=3).config.labels == ("a", "b", "c")
    with pytest.raises(InputError, match=r"num_classes must be 3, .* in .*model; got 2; use a"):
        load_model(ours, num_classes=2)
    with pytest.raises(InputError, match=r"labels must be \['a', 'b', 'c'\].* got \['c', 'b', 'a'"):
        load_model(ours, labels=("c", "b", "a"))
    edit_config(ours, labels=[])
    assert load_model(ours, labels=("c", "b", "a")).config.labels == ("c", "b", "a")


def test_names_that_are_assumed_are_told(ours: Path, caplog: pytest.LogCaptureFixture) -> None:
    edit_config(ours, labels=[])
    load_model(ours, labels=("0", "1", "2"))  # which say no more than the numbers of the classes
    assert caplog.messages == []
    load_model(ours, labels=("contradiction", "entailment", "neutral"))
    (message,) = caplog.messages
    assert f"{ours} does not name its classes" in message
    assert "taken for contradiction, entailment, neutral, in this order; if it was" in message
