"""A model and its data agree on the classes and their order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from ofa_bert.config import DataConfig
from ofa_bert.errors import InputError
from ofa_bert.evaluate import evaluate_model, predict_logits
from ofa_bert.task import (
    load_model_and_task,
)
from tests.oracles import weights_of
from tests.task.made import TRAIN, ids_of, write_model, write_tsv
from tests.tiny import VOCAB_SIZE


def test_texts_become_ids_and_labels_classes(tmp_path, data):
    source = write_model(tmp_path / "model", labels=("bad", "good"))
    model, tokenizer, task = load_model_and_task(source, data)
    assert (task.name, task.labels, task.regression) == ("own", ("bad", "good"), False)
    assert task.metrics == ("accuracy",)
    assert task.train.labels.tolist() == [1, 0, 0, 1, 0]
    assert task.dev["dev"].labels.tolist() == [0, 1]
    assert [list(task.train.row(i)[0]) for i in range(5)] == [ids_of(text) for text, _ in TRAIN]
    assert tokenizer.vocab_size == VOCAB_SIZE
    assert (model.config.task_name, model.config.max_seq_length) == ("own", 16)
    assert model.config.num_texts == 1


def test_the_models_label_order_wins(tmp_path, data):
    source = write_model(tmp_path / "model", labels=("good", "bad"))
    model, _, task = load_model_and_task(source, data)
    assert model.config.labels == task.labels == ("good", "bad")
    assert task.train.labels.tolist() == [0, 1, 1, 0, 1]


def test_a_model_without_names_takes_those_of_the_data_and_says_so(tmp_path, data, caplog):
    source = write_model(tmp_path / "model", labels=())
    model, _, _ = load_model_and_task(source, data)
    assert model.config.labels == ("bad", "good")
    assert "taken for bad, good, in this order" in caplog.text


def test_a_teacher_with_the_hubs_names_of_the_classes(tmp_path, data):
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text("sentence\tlabel\nw1 w2\t1\nw3\t0\nw4\t1\n")
    source = write_model(tmp_path / "model", labels=("POSITIVE", "NEGATIVE"))
    glue = DataConfig("SST-2", data_dir=str(tmp_path), max_seq_length=16)
    model, _, task = load_model_and_task(source, glue)
    assert model.config.labels == task.labels == ("1", "0")
    assert task.train.labels.tolist() == task.dev["dev"].labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "names", [("0", "1"), ("1", "0"), ("equivalent", "not_equivalent")], ids=lambda names: names[0]
)
def test_f1_is_that_of_class_1_of_the_data_in_any_order_of_the_logits(tmp_path, data, names):
    generator = np.random.default_rng(5)
    labels = [str(label) for label in generator.integers(0, 2, 30)]
    rows = [f"{label}\tw{i}\tw{i + 1} w{i % 3}\n" for i, label in enumerate(labels)]
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text("".join(["Quality\t#1 String\t#2 String\n", *rows]))
    source = write_model(tmp_path / "model", labels=names)
    mrpc = DataConfig("MRPC", data_dir=str(tmp_path), max_seq_length=16)
    model, _, task = load_model_and_task(source, mrpc)
    classes = predict_logits(model, task.dev["dev"]).argmax(1)
    answers = [task.labels[index] for index in classes]
    assert len(set(answers)) == 2
    found = evaluate_model(model, task.dev, task.metrics)
    assert found["f1"] == pytest.approx(f1_score(labels, answers, pos_label="1"))
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, answers))


def test_a_fresh_classifier_has_the_datas_labels_and_assumes_nothing(tmp_path, data, caplog):
    for name, labels in [("unnamed", ()), ("named", ("no", "yes"))]:
        source = write_model(tmp_path / name, keep_classifier=False, labels=labels)
        assert load_model_and_task(source, data)[0].config.labels == ("bad", "good")
    assert "does not name its classes" not in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("no", "yes")}, r"labels of the model must be those of the data; .*'no'"),
        ({"num_classes": 3}, r"num_classes must be 3, the size of the classifier .* got 2"),
    ],
)
def test_a_teacher_of_another_task_is_refused(tmp_path, data, changes, message):
    source = write_model(tmp_path / "model", **changes)
    with pytest.raises(InputError, match=message):
        load_model_and_task(source, data)


def test_a_fresh_classifier_is_drawn_from_the_seed(tmp_path, data):
    source = write_model(tmp_path / "model", keep_classifier=False)
    drawn = [
        weights_of(load_model_and_task(source, data, seed=seed)[0])["classifier.weight"]
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert drawn[0].shape == (12, 2)


def test_without_training_rows_the_labels_are_the_models(tmp_path, data):
    source = write_model(tmp_path / "model", labels=("good", "bad"))
    dev_only = dataclasses.replace(
        data, train_file=None, dev_file=write_tsv(tmp_path / "one.tsv", [("w1", "bad")])
    )
    _, _, task = load_model_and_task(source, dev_only, need_train=False)
    assert len(task.train) == 0
    assert task.dev["dev"].labels.tolist() == [1]
