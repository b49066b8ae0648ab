"""config.json of every toolkit, and what is wrong with those that are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from ofa_bert.checkpoint.model_config import parse_model_config, read_model_config
from ofa_bert.errors import InputError
from ofa_bert.model_config import ModelConfig

HUGGINGFACE = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "vocab_size": 60,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.2,
    "attention_probs_dropout_prob": 0.3,
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-6,
    "initializer_range": 0.05,
    "pad_token_id": 1,
    "position_embedding_type": "absolute",
    "id2label": {"1": "good", "0": "bad", "2": "unsure"},
    "label2id": {"bad": 0, "good": 1, "unsure": 2},
}
EXPECTED = ModelConfig(
    vocab_size=60,
    hidden_size=12,
    num_attention_heads=(4, 4),
    intermediate_size=(24, 24),
    head_dim=3,
    max_position_embeddings=32,
    hidden_dropout_prob=0.2,
    attention_probs_dropout_prob=0.3,
    layer_norm_eps=1e-6,
    initializer_range=0.05,
    pad_token_id=1,
    num_classes=3,
    labels=("bad", "good", "unsure"),
)


def changed(**changes: Any) -> dict[str, Any]:
    """Give Hugging Face's config with changes; None takes a key away."""
    values = {**HUGGINGFACE, **changes}
    return {name: value for name, value in values.items() if value is not None}


def classes_of(**changes: Any) -> tuple[int, tuple[str, ...]]:
    config = parse_model_config(changed(**changes), "here")
    return config.num_classes, config.labels


def test_huggingface() -> None:
    assert parse_model_config(HUGGINGFACE, "here") == EXPECTED


def test_a_dropout_of_the_classifiers_own() -> None:
    config = parse_model_config(changed(classifier_dropout=0.5), "here")
    assert (config.classifier_dropout, config.hidden_dropout_prob) == (0.5, 0.2)
    assert parse_model_config(json.loads(json.dumps(config.to_dict())), "here") == config
    # Hugging Face and PaddleNLP write null where it has none.
    unset = parse_model_config({**HUGGINGFACE, "classifier_dropout": None}, "here")
    assert unset == EXPECTED
    assert EXPECTED.classifier_dropout is None


def test_paddlenlp_before_config_json() -> None:
    base = {
        name: HUGGINGFACE[name]
        for name in (
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
        )
    }
    old = {
        "init_args": [{**base, "init_class": "BertModel"}],
        "num_classes": 3,
        "init_class": "BertForSequenceClassification",
    }
    config = parse_model_config(old, "here")
    assert (config.num_classes, config.num_layers, config.head_dim) == (3, 2, 3)
    assert (config.type_vocab_size, config.layer_norm_eps) == (16, 1e-12)
    positional = {
        "init_args": [*old["init_args"], 3],
        "init_class": "BertForSequenceClassification",
    }
    assert parse_model_config(positional, "here") == config
    flat = {**base, "init_class": "BertModel", "num_classes": 3}
    assert parse_model_config(flat, "here") == config


def test_our_own_with_a_size_for_each_layer() -> None:
    ours = ModelConfig(
        vocab_size=60,
        hidden_size=12,
        num_attention_heads=(4, 1),
        intermediate_size=(24, 5),
        head_dim=3,
        labels=("LABEL_0", "b"),
        task_name="sst-2",
        max_seq_length=32,
        hidden_act="gelu_new",
    )
    assert parse_model_config(json.loads(json.dumps(ours.to_dict())), "here") == ours


def test_classes() -> None:
    # Placeholders are no labels, and a regression has none.
    placeholders = {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    assert classes_of(id2label=placeholders) == (3, ())
    assert classes_of(id2label={"0": "score"}) == (1, ())
    assert classes_of(id2label=None) == (3, ("bad", "good", "unsure"))
    assert classes_of(id2label=None, label2id=None) == (2, ())
    assert classes_of(id2label=None, label2id=None, num_labels=5) == (5, ())
    assert classes_of(id2label=None, label2id=None, num_classes=4) == (4, ())


@pytest.mark.parametrize("name", ["gelu_pytorch_tanh", "gelu_fast", "gelu_new"])
def test_other_names_of_the_tanh_gelu(name: str) -> None:
    assert parse_model_config(changed(hidden_act=name), "here").hidden_act == "gelu_new"


def test_gaps_are_filled_with_the_defaults_of_bert() -> None:
    few = ("vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size").split()
    config = parse_model_config({name: HUGGINGFACE[name] for name in few}, "here")
    assert (config.max_position_embeddings, config.type_vocab_size) == (512, 2)
    assert (config.hidden_act, config.layer_norm_eps, config.pad_token_id) == ("gelu", 1e-12, 0)


OURS = EXPECTED.to_dict()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (changed(vocab_size=None), "vocab_size must be given; it is missing"),
        (changed(num_hidden_layers=None), "num_hidden_layers must be given; it is missing"),
        (changed(num_hidden_layers=10**9), "whole number from 1 to 1000; got 1000000000"),
        (changed(hidden_size="12"), "hidden_size must be a whole number from 1 .* got '12'"),
        (changed(hidden_size=True), "hidden_size must be a whole number from 1 .* got True"),
        (changed(hidden_size=10**30), "hidden_size must be a whole number from 1 to 2147483648"),
        (changed(num_attention_heads=0), "num_attention_heads must be a whole number from 1"),
        (changed(num_attention_heads=5), "multiple of num_attention_heads; got 12 and 5"),
        (changed(intermediate_size=[24, 24]), r"intermediate_size must be .* got \[24, 24\]"),
        (
            changed(layer_norm_eps=float("nan")),
            "layer_norm_eps must be a number from 0 to 0.001; got nan",
        ),
        (changed(hidden_dropout_prob=1.5), "hidden_dropout_prob must be a number from 0 to 1"),
        (changed(classifier_dropout="0.1"), "classifier_dropout must be a number from 0 to 1;"),
        (changed(pad_token_id=-1), "pad_token_id must be a token id; got -1"),
        (changed(hidden_act=["gelu"]), r"hidden_act must be a short text; got \['gelu'\]"),
        (changed(hidden_act="silu"), "hidden_act 'silu' is unknown; "),
        (changed(model_type="roberta"), "model_type must be one we know; got 'roberta'; .*known: "),
        (changed(model_type=["bert"]), r"model_type must be one we know; got \['bert'\]"),
        (
            changed(model_type=None, architectures=["RobertaModel"]),
            "model_type must be one we know; got 'roberta'",
        ),
        (changed(init_args=[], init_class="X"), "init_args must be a list that starts with"),
        (
            changed(model_type=None, init_class="ErnieForSequenceClassification"),
            "model_type must be one we know; got 'ernie'",
        ),
        (
            changed(position_embedding_type="relative_key"),
            "position_embedding_type must be 'absolute', the only one supported; "
            "got 'relative_key'",
        ),
        (changed(pool_act="relu"), "pool_act must be 'tanh', the only one supported; got 'relu'"),
        (
            changed(problem_type="multi_label_classification"),
            "problem_type must be that of one label a text; got 'multi_label_classification'",
        ),
        (changed(is_decoder=True), "is_decoder must be False, the only one supported; got True"),
        (changed(num_labels=4), "count of classes must be the same .* num_labels 4, id2label 3"),
        (changed(id2label={"1": "a", "2": "b"}), r"must name classes 0 to 1; got \['1', '2'\]"),
        (changed(id2label=["a"]), r"id2label must be an object; got \['a'\]"),
        (changed(id2label=None, label2id=3), "label2id must be an object; got 3"),
        ({**OURS, "num_attention_heads": [4]}, "each of the 2 layers; got 1 sizes"),
        ({**OURS, "num_attention_heads": [4, "4"]}, "num_attention_heads must be a whole number"),
        ({**OURS, "head_dim": 0}, "head_dim must be a whole number from 1"),
        ({**OURS, "labels": "bad"}, "labels must be a list of texts; got 'bad'"),
        ({**OURS, "labels": ["a"]}, r"labels must name each of the 3 classes; got \['a'\]"),
        ({**OURS, "task_name": 5}, "task_name must be a text of one line; got 5"),
        ({**OURS, "max_seq_length": -1}, "max_seq_length must be a whole number from 1"),
        ({**OURS, "num_texts": 3}, "num_texts must be a whole number from 1 to 2; got 3"),
    ],
)
def test_refuses(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^model config here: .*{message}"):
        parse_model_config(values, "here")


def test_reads_either_file_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "model_config.json").write_text(json.dumps(changed(num_hidden_layers=1)))
    assert read_model_config(tmp_path).num_layers == 1
    (tmp_path / "config.json").write_text(json.dumps(HUGGINGFACE))
    assert read_model_config(tmp_path) == EXPECTED


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"[1]", r"must hold a JSON object \{...\}; got \[1\]"),
        (b'{"a": 1, "a": 2}', "the name 'a' stands twice"),
        (b"\xff\xfe", "cannot be read: "),
        (b"[" * 100_000, "is not valid JSON"),
    ],
)
def test_a_file_that_is_no_config(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=f"model config .*{message}"):
        read_model_config(tmp_path)


def test_a_directory_without_config(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must hold config\.json or model_config\.json; it has"):
        read_model_config(tmp_path)


def test_equal_sizes_are_written_once_and_others_by_layer():
    values = ModelConfig(100, 8, (2, 2), (16, 16), 4).to_dict()
    assert (values["num_attention_heads"], values["intermediate_size"]) == (2, 16)
    assert values["num_hidden_layers"] == 2
    assert ModelConfig(100, 8, (2, 1), (16, 5), 4).to_dict()["num_attention_heads"] == [2, 1]
