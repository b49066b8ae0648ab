"""Rows as a network sees them, and what is said of them."""

from __future__ import annotations

import dataclasses

import numpy as np

from ofa_bert.config import SupernetConfig
from ofa_bert.data.dataset import TaskData
from ofa_bert.data.readers import Example
from ofa_bert.evaluate import predict_logits
from ofa_bert.export.static import export_static
from ofa_bert.predictor import Predictor
from ofa_bert.task import (
    describe_rows,
    importance_rows,
    load_model_and_task,
)
from tests.oracles import bert_of
from tests.task.made import DEV, TRAIN, ids_of, write_model, write_tsv
from tests.tiny import tiny_vocab


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


def test_importance_rows(tmp_path, data):
    source = write_model(tmp_path / "model", labels=("bad", "good"))
    _, _, task = load_model_and_task(source, data)

    def rows(**settings):
        found = importance_rows(task, SupernetConfig(**settings))
        return [list(found.row(i)[0]) for i in range(len(found))]

    assert rows(importance_examples=3) == [ids_of(TRAIN[i][0]) for i in (0, 1, 3)]
    assert rows(importance_examples=-1) == rows() == [ids_of(text) for text, _ in TRAIN]
    assert rows(importance_split="dev") == [ids_of(text) for text, _ in DEV]


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
