"""Sub-models handed to paddlenlp compute what they compute here."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofa_bert.checkpoint.load import load_model
from ofa_bert.checkpoint.save import save_model
from ofa_bert.errors import InputError
from ofa_bert.integrations.paddlenlp import load_sub_model
from tests.tiny import paddle, tiny_batch, tiny_config, tiny_model

pytestmark = pytest.mark.filterwarnings("ignore")  # importing paddlenlp warns


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"num_attention_heads": (2, 2), "intermediate_size": (12, 12)},
        {"num_attention_heads": (1, 3), "intermediate_size": (5, 24)},
        {"num_attention_heads": (3,), "intermediate_size": (7,), "head_dim": 5},
        {"hidden_act": "gelu_new", "num_classes": 1},
    ],
    ids=["full", "cut", "uneven", "shallow", "gelu_new"],
)
def test_weights_and_logits_are_equal(tmp_path: Path, sizes: dict[str, Any]) -> None:
    transformers = pytest.importorskip("paddlenlp.transformers")
    attention_forward = paddle.nn.MultiHeadAttention.forward
    # A large epsilon, so that a lost one shows.
    ours = tiny_model(tiny_config(layer_norm_eps=0.001, **sizes))
    save_model(ours, tmp_path)
    theirs = load_sub_model(tmp_path)
    assert isinstance(theirs, transformers.BertForSequenceClassification)
    assert not theirs.training
    assert set(theirs.state_dict()) == set(ours.state_dict())
    for name, parameter in ours.state_dict().items():
        np.testing.assert_array_equal(theirs.state_dict()[name].numpy(), parameter.numpy())
    batch = {name: paddle.to_tensor(array) for name, array in tiny_batch().items()}
    with paddle.no_grad():
        output = ours(**batch)
        expected = theirs(**batch, output_hidden_states=True, return_dict=True)
    np.testing.assert_allclose(output.logits.numpy(), expected.logits.numpy(), atol=1e-5)
    for mine, other in zip(output.hidden_states, expected.hidden_states, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), atol=1e-5)
    assert paddle.nn.MultiHeadAttention.forward is attention_forward


def test_labels_go_along(tmp_path: Path) -> None:
    pytest.importorskip("paddlenlp.transformers")
    save_model(tiny_model(tiny_config(labels=("x", "y", "z"))), tmp_path)
    assert load_sub_model(tmp_path).config.id2label == {0: "x", 1: "y", 2: "z"}


def test_the_classifiers_own_dropout_is_theirs(tmp_path: Path) -> None:
    pytest.importorskip("paddlenlp.transformers")
    for rate, expected in [(0.5, 0.5), (0.0, 0.0), (None, 0.2)]:
        sizes = {"classifier_dropout": rate, "hidden_dropout_prob": 0.2}
        save_model(tiny_model(tiny_config(**sizes)), tmp_path)
        assert load_model(tmp_path).dropout.rate == load_sub_model(tmp_path).dropout.p == expected


def test_without_paddlenlp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"type pip install 'ofa_bert\[paddlenlp\]'$"):
        load_sub_model(tmp_path)
