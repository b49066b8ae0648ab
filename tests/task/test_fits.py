"""Whether a model and its data belong together: what is refused, and what is a warning."""

from __future__ import annotations

import dataclasses

import pytest

from ofa_bert.checkpoint.load import load_config
from ofa_bert.checkpoint.save import save_model
from ofa_bert.config import DataConfig
from ofa_bert.data.tokenizer import load_tokenizer
from ofa_bert.errors import InputError
from ofa_bert.task import (
    check_fits,
    load_model_and_task,
    warn_of_poor_teacher,
)
from tests.task.made import write_model, write_tsv
from tests.tiny import tiny_config, tiny_tokenizer, tiny_vocab


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


def test_a_model_of_one_segment_takes_no_pairs(tmp_path, data):
    source = write_model(tmp_path / "model", labels=("bad", "good"), type_vocab_size=1)
    load_model_and_task(source, data)
    pairs = dataclasses.replace(data, text_columns=("text", "text"))
    with pytest.raises(InputError, match=r"two segments .* pairs of texts; got 1; use another"):
        load_model_and_task(source, pairs)


def test_a_model_of_pairs_says_so(tmp_path, data):
    (tmp_path / "pairs.tsv").write_text("a\tb\tlabel\nw1\tw2\tgood\nw3\tw4\tbad\n")
    files = dict.fromkeys(("train_file", "dev_file"), str(tmp_path / "pairs.tsv"))
    pairs = dataclasses.replace(data, text_columns=("a", "b"), **files)
    model, _, _ = load_model_and_task(write_model(tmp_path / "model"), pairs)
    assert model.config.num_texts == 2
    save_model(model, tmp_path / "saved", tiny_tokenizer(tmp_path / "tokenizer"))
    assert load_config(tmp_path / "saved").num_texts == 2


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
