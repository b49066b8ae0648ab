"""Names of Hugging Face and PaddleNLP, mapped to ours."""

import pytest

from ofa_bert.checkpoint.names import Target, family_of, parameter_shapes, target_of
from ofa_bert.errors import InputError
from tests.tiny import tiny_config, tiny_model


@pytest.mark.parametrize(
    ("theirs", "ours", "transposed"),
    [
        ("embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight", False),
        ("embeddings.LayerNorm.gamma", "bert.embeddings.layer_norm.weight", True),
        ("embeddings.LayerNorm.beta", "bert.embeddings.layer_norm.bias", False),
        ("embeddings.LayerNorm.bias", "bert.embeddings.layer_norm.bias", False),
        (
            "encoder.layer.10.attention.self.query.weight",
            "bert.encoder.layers.10.self_attn.q_proj.weight",
            True,
        ),
        (
            "encoder.layer.0.attention.self.key.bias",
            "bert.encoder.layers.0.self_attn.k_proj.bias",
            False,
        ),
        (
            "encoder.layer.0.attention.self.value.weight",
            "bert.encoder.layers.0.self_attn.v_proj.weight",
            True,
        ),
        (
            "encoder.layer.0.attention.output.dense.weight",
            "bert.encoder.layers.0.self_attn.out_proj.weight",
            True,
        ),
        (
            "encoder.layer.0.attention.output.LayerNorm.bias",
            "bert.encoder.layers.0.norm1.bias",
            False,
        ),
        ("encoder.layer.1.intermediate.dense.weight", "bert.encoder.layers.1.linear1.weight", True),
        ("encoder.layer.1.output.dense.bias", "bert.encoder.layers.1.linear2.bias", False),
        ("encoder.layer.1.output.LayerNorm.beta", "bert.encoder.layers.1.norm2.bias", False),
        ("pooler.dense.weight", "bert.pooler.dense.weight", True),
    ],
)
@pytest.mark.parametrize("prefix", ["", "bert."])
def test_huggingface_names(prefix: str, theirs: str, ours: str, transposed: bool) -> None:
    assert target_of(prefix + theirs, "huggingface") == Target(ours, transposed)


def test_the_classifier_has_no_prefix() -> None:
    assert target_of("classifier.weight", "huggingface") == Target("classifier.weight", True)
    assert target_of("classifier.weight", "paddlenlp") == Target("classifier.weight", False)


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_paddlenlp_names_are_ours(prefix: str) -> None:
    for name in tiny_model().state_dict():
        theirs = prefix + name.removeprefix("bert.")
        expected = name if name.startswith("bert.") else "classifier." + name.rpartition(".")[2]
        if not name.startswith("classifier."):
            assert target_of(theirs, "paddlenlp") == Target(expected)


@pytest.mark.parametrize(
    "name",
    [
        "embeddings.position_ids",
        "bert.embeddings.position_ids",
        "cls.predictions.decoder.weight",
        "cls.seq_relationship.bias",
        "lm_head.bias",
        "qa_outputs.weight",
    ],
)
def test_heads_of_pretraining_and_buffers_are_left_out(name: str) -> None:
    assert target_of(name, "huggingface") is None


def test_an_unknown_name_comes_back() -> None:
    assert target_of("adapter.weight", "paddlenlp") == Target("bert.adapter.weight")
    assert target_of("encoder.layer.0.odd.bias", "huggingface") == Target(
        "bert.encoder.layer.0.odd.bias"
    )


def test_family_is_told_by_the_names() -> None:
    assert family_of(tiny_model().state_dict()) == "paddlenlp"
    assert family_of(["encoder.layer.0.output.dense.weight", "classifier.bias"]) == "huggingface"


def test_names_of_another_network() -> None:
    message = r"named as PaddleNLP .* name a BERT; got 'conv1\.weight, fc\.bias'"
    with pytest.raises(InputError, match=message):
        family_of(["fc.bias", "conv1.weight"])


def test_parameter_shapes_are_those_of_the_model() -> None:
    config = tiny_config(
        num_attention_heads=(4, 1), intermediate_size=(7, 24), type_vocab_size=3, num_classes=5
    )
    built = {name: tuple(p.shape) for name, p in tiny_model(config).state_dict().items()}
    assert parameter_shapes(config) == built
