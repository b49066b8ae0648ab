from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from ofa_bert.checkpoint.load import load_config
from ofa_bert.checkpoint.save import save_model
from ofa_bert.config import DataConfig, SourceConfig, SupernetConfig
from ofa_bert.data.dataset import TaskData
from ofa_bert.data.readers import Example
from ofa_bert.data.tokenizer import load_tokenizer
from ofa_bert.errors import InputError
from ofa_bert.evaluate import evaluate_model, predict_logits
from ofa_bert.export.static import export_static
from ofa_bert.predictor import Predictor
from ofa_bert.task import (
    check_fits,
    describe_rows,
    importance_rows,
    load_model_and_task,
    warn_of_poor_teacher,
)
from tests.oracles import bert_of, weights_of
from tests.tiny import VOCAB_SIZE, tiny_config, tiny_model, tiny_tokenizer, tiny_vocab

TRAIN = [("w1 w2", "good"), ("w3", "bad"), ("w4 w5 w6", "bad"), ("w7", "good"), ("w8", "bad")]
DEV = [("w2", "bad"), ("w1 w1", "good")]


def write_tsv(path, rows):
    path.write_text("".join(f"{t}\t{label}\n" for t, label in [("text", "label"), *rows]))
    return str(path)


def write_model(directory, *, keep_classifier=True, **changes):
    """A checkpoint directory; without classifier it is what pretraining leaves."""
    config = tiny_config(**{"num_classes": 2, **changes})
    model = tiny_model(config)
    if not keep_classifier:
        del model.classifier
    save_model(model, directory, tiny_tokenizer(directory.parent / "tokenizer"))
    return SourceConfig(str(directory))


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("OFA_BERT_CACHE", str(tmp_path / "cache"))
    return DataConfig(
        task_name="own",
        train_file=write_tsv(tmp_path / "train.tsv", TRAIN),
        dev_file=write_tsv(tmp_path / "dev.tsv", DEV),
        text_columns=("text",),
        label_column="label",
        max_seq_length=16,
    )


def test_a_model_of_pairs_says_so(tmp_path, data):
    (tmp_path / "pairs.tsv").write_text("a\tb\tlabel\nw1\tw2\tgood\nw3\tw4\tbad\n")
    files = dict.fromkeys(("train_file", "dev_file"), str(tmp_path / "pairs.tsv"))
    pairs = dataclasses.replace(data, text_columns=("a", "b"), **files)
    model, _, _ = load_model_and_task(write_model(tmp_path / "model"), pairs)
    assert model.config.num_texts == 2
    save_model(model, tmp_path / "saved", tiny_tokenizer(tmp_path / "tokenizer"))
    assert load_config(tmp_path / "saved").num_texts == 2


def ids_of(text):
    vocab = tiny_vocab()
    return [vocab.index(token) for token in ["[CLS]", *text.split(), "[SEP]"]]


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


def test_importance_rows(tmp_path, data):
    source = write_model(tmp_path / "model", labels=("bad", "good"))
    _, _, task = load_model_and_task(source, data)

    def rows(**settings):
        found = importance_rows(task, SupernetConfig(**settings))
        return [list(found.row(i)[0]) for i in range(len(found))]

    assert rows(importance_examples=3) == [ids_of(TRAIN[i][0]) for i in (0, 1, 3)]
    assert rows(importance_examples=-1) == rows() == [ids_of(text) for text, _ in TRAIN]
    assert rows(importance_split="dev") == [ids_of(text) for text, _ in DEV]


def test_what_the_model_cannot_take_is_refused(tmp_path):
    config = tiny_config(max_position_embeddings=20)
    tokenizer = tiny_tokenizer(tmp_path)
    check_fits(config, tokenizer, DataConfig(max_seq_length=20))
    expected = r"max_seq_length must be at most 20, the model's positions; got 21; .*length 20"
    with pytest.raises(InputError, match=expected):
        check_fits(config, tokenizer, DataConfig(max_seq_length=21))
    (tmp_path / "vocab.txt").write_text("\n".join([*tiny_vocab(), "more"]) + "\n")
    larger = load_tokenizer(tmp_path)
    with pytest.raises(InputError, match=r"vocabulary has 61 tokens, the model's embedding 60"):
        check_fits(config, larger, DataConfig(max_seq_length=20))


def test_a_vocabulary_with_its_padding_elsewhere_hides_no_word(tmp_path, data):
    """The config says 0, as most do; there the tokenizer has a word, and [PAD] at 3."""
    source = write_model(tmp_path / "model", labels=("bad", "good"))
    vocab = tiny_vocab()
    vocab[:4] = ["w1", "[UNK]", "[CLS]", "[PAD]"]
    vocab[vocab.index("w1", 1)] = "[SEP]"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "model" / name).unlink()
    (tmp_path / "model" / "vocab.txt").write_text("\n".join(vocab) + "\n")
    model, tokenizer, _ = load_model_and_task(source, data)
    assert model.config.pad_token_id == 3

    texts = ["w1 w2", "w1 w5 w1 w6"]
    ids = [[vocab.index(token) for token in ["[CLS]", *t.split(), "[SEP]"]] for t in texts]
    export_static(model, tmp_path / "static", tokenizer=tokenizer, max_seq_length=16)
    answers = Predictor(tmp_path / "static").predict(texts)
    for row, answer in zip(ids, answers, strict=True):
        batch = {"input_ids": np.array([row]), "token_type_ids": np.zeros((1, len(row)), "int64")}
        batch["attention_mask"] = np.ones((1, len(row)), "int64")
        np.testing.assert_allclose(answer.logits, bert_of(model, batch)[0][0], rtol=1e-5, atol=1e-5)


def test_the_log_says_what_was_read(tmp_path, data, caplog):
    caplog.set_level("INFO", "ofa_bert.task")
    source = write_model(tmp_path / "model", labels=("good", "bad"))
    load_model_and_task(source, data)
    assert caplog.messages == ["train 5 rows, dev 2 rows; labels good, bad"]
    caplog.clear()
    load_model_and_task(source, data, need_train=False)
    assert caplog.messages == ["dev 2 rows; labels good, bad"]
    many = tuple(f"c{i}" for i in range(77))
    rows = {"matched": [Example("w1")] * 3, "mismatched": [Example("w1")]}
    texts = TaskData("own", many, False, ("accuracy",), [], rows)
    expected = "matched 3 rows, mismatched 1 rows; labels c0, c1, c2, c3, c4, c5, c6, c7, ... "
    assert describe_rows(texts, many) == f"{expected}(77 labels)"
    numbers = dataclasses.replace(texts, labels=(), regression=True)
    assert describe_rows(numbers, ()) == "matched 3 rows, mismatched 1 rows; labels: numbers"


def test_a_model_of_another_task_is_a_warning(tmp_path, data, caplog):
    def warnings(**changes):
        caplog.clear()
        source = write_model(tmp_path / "model", labels=("bad", "good"), **changes)
        load_model_and_task(source, data)
        return [message for message in caplog.messages if "for task" in message]

    assert warnings() == warnings(task_name="own") == warnings(task_name="OWN") == []
    assert warnings(task_name="custom") == []  # what it is called where nobody gave it a name
    (message,) = warnings(task_name="MRPC")
    assert "the model was trained for task MRPC and the data are of own" in message
    # A fresh classifier was trained for nothing.
    assert warnings(task_name="MRPC", keep_classifier=False) == []


@pytest.mark.parametrize(
    ("num_texts", "columns", "said"),
    [
        (2, ("text",), "was trained on pairs of texts and the data are single texts"),
        (1, ("text", "label"), "was trained on single texts and the data are pairs of texts"),
    ],
)
def test_rows_of_another_number_of_texts(tmp_path, data, caplog, num_texts, columns, said):
    def load(num_texts=num_texts, columns=columns, *, need_train=True, **changes):
        caplog.clear()
        labels = ("bad", "good")
        source = write_model(tmp_path / "model", labels=labels, num_texts=num_texts, **changes)
        config = dataclasses.replace(data, text_columns=columns)
        load_model_and_task(source, config, need_train=need_train)
        return [message for message in caplog.messages if "text_columns" in message]

    assert load(len(columns), need_train=False) == load(None, need_train=False) == []
    with pytest.raises(InputError, match=f"{said}; check --text_columns and --model_name"):
        load(need_train=False)
    (message,) = load()  # it may learn them
    assert said in message
    assert load(keep_classifier=False) == []  # a fresh classifier was trained on nothing


def test_a_vocabulary_of_another_language_is_a_warning(tmp_path, data, caplog):
    caplog.set_level("WARNING")
    source = write_model(tmp_path / "model", labels=("bad", "good"))
    few = [("w1 w2 w3 w4 x", "good")]  # 1 of 5 tokens
    more = [("w1 x y", "good"), ("w2 x", "bad")]  # 3 of 5
    config = dataclasses.replace(data, dev_file=write_tsv(tmp_path / "dev.tsv", few))
    load_model_and_task(source, config)
    assert caplog.messages == []
    config = dataclasses.replace(data, dev_file=write_tsv(tmp_path / "dev.tsv", more))
    for _ in range(2):  # The second time the ids come from the cache.
        caplog.clear()
        load_model_and_task(source, config)
        assert caplog.messages == [
            "60 % of the tokens of dev are unknown to this vocabulary; use a model of the texts' "
            "language"
        ]


def test_a_model_of_one_segment_takes_no_pairs(tmp_path, data):
    source = write_model(tmp_path / "model", labels=("bad", "good"), type_vocab_size=1)
    load_model_and_task(source, data)
    pairs = dataclasses.replace(data, text_columns=("text", "text"))
    with pytest.raises(InputError, match=r"two segments .* pairs of texts; got 1; use another"):
        load_model_and_task(source, pairs)


def test_a_literal_pad_is_the_same_to_evaluation_graph_and_model(tmp_path, data):
    texts = ["w1 [PAD] w2", "w1 [PAD] [PAD] [PAD] w5 w6", "w3"]
    rows = [(text, "good") for text in texts]
    data = dataclasses.replace(data, dev_file=write_tsv(tmp_path / "dev.tsv", rows))
    source = write_model(tmp_path / "model", labels=("bad", "good"))
    model, tokenizer, task = load_model_and_task(source, data)
    found = predict_logits(model, task.dev["dev"])
    export_static(model, tmp_path / "static", tokenizer=tokenizer, max_seq_length=16)
    static = [answer.logits for answer in Predictor(tmp_path / "static").predict(texts)]
    np.testing.assert_allclose(found, static, rtol=1e-5, atol=1e-5)
    for i, text in enumerate(texts):
        ids = np.array([ids_of(text)])
        mask = (ids != tiny_vocab().index("[PAD]")).astype("int64")
        batch = {"input_ids": ids, "token_type_ids": 0 * ids, "attention_mask": mask}
        np.testing.assert_allclose(found[i], bert_of(model, batch)[0][0], rtol=1e-5, atol=1e-5)


def test_a_teacher_that_is_worse_than_the_largest_class_is_a_warning(tmp_path, data, caplog):
    caplog.set_level("WARNING")
    source = write_model(tmp_path / "model", labels=("bad", "good"))
    rows = [("w1", "bad"), ("w2", "bad"), ("w3", "good")]  # "bad" alone is right in 2 of 3
    config = dataclasses.replace(data, dev_file=write_tsv(tmp_path / "dev.tsv", rows))
    _, _, task = load_model_and_task(source, config)
    warn_of_poor_teacher(task, {"accuracy": 2 / 3})
    warn_of_poor_teacher(task, {"mcc": -1.0})
    assert caplog.messages == []
    warn_of_poor_teacher(task, {"accuracy": 1 / 3})
    two = dataclasses.replace(task, dev={"matched": task.dev["dev"], "mismatched": task.train})
    # 3 of the 5 training rows are "bad".
    warn_of_poor_teacher(two, {"accuracy_matched": 0.7, "accuracy_mismatched": 0.5})
    (one, other) = caplog.messages
    assert "accuracy on dev is 0.3333, below 0.6667, the share of the largest class" in one
    assert "another order than bad, good (say which in its config.json, as id2label)" in one
    assert "accuracy on mismatched is 0.5000, below 0.6000" in other
