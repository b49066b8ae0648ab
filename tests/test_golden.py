"""Files that an earlier version wrote are read and run by this one, to the logits they had then."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ofa_bert.checkpoint.load import load_model
from ofa_bert.data.tokenizer import load_tokenizer
from ofa_bert.extraction import extract
from ofa_bert.predictor import Predictor
from ofa_bert.supernet import is_supernet, load_supernet
from tests.oracles import softmax

import paddle  # isort: skip

GOLDEN = Path(__file__).parent / "data" / "golden"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))
# float32 against the oracle's float64, through two layers.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def logits_of(model):
    with paddle.no_grad():
        return [model(paddle.to_tensor([ids])).logits.numpy()[0] for ids in EXPECTED["input_ids"]]


@pytest.mark.parametrize("name", ["supernet", "sub_model", "static"])
def test_the_tokenizer_gives_the_ids_it_gave(name):
    encoded = load_tokenizer(GOLDEN / name).encode(EXPECTED["texts"], None, 16)
    assert [ids.tolist() for ids in encoded.input_ids] == EXPECTED["input_ids"]


def test_the_sub_model_gives_the_logits_it_gave():
    model = load_model(GOLDEN / "sub_model")
    assert model.config.num_attention_heads == (2, 2)
    assert model.config.labels == ("bad", "good", "so-so")
    np.testing.assert_allclose(logits_of(model), EXPECTED["logits"], **CLOSE)


def test_the_supernet_gives_the_logits_it_gave_at_both_widths():
    assert is_supernet(GOLDEN / "supernet")
    supernet = load_supernet(GOLDEN / "supernet")
    assert list(supernet.widths) == [1.0, 0.75, 0.5]
    np.testing.assert_allclose(logits_of(supernet.model), EXPECTED["supernet_logits"], **CLOSE)
    half = extract(supernet.model, supernet.subnet(0.5))
    np.testing.assert_allclose(logits_of(half), EXPECTED["logits"], **CLOSE)


def test_the_graph_gives_the_answers_it_gave():
    answers = Predictor(GOLDEN / "static").predict(EXPECTED["texts"])
    np.testing.assert_allclose([a.logits for a in answers], EXPECTED["logits"], **CLOSE)
    probabilities = softmax(np.array(EXPECTED["logits"]))
    assert [a.label for a in answers] == [
        ("bad", "good", "so-so")[row.argmax()] for row in probabilities
    ]
    assert [a.score for a in answers] == pytest.approx(probabilities.max(-1), abs=1e-5)


def test_the_golden_files_are_small():
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 1_000_000
