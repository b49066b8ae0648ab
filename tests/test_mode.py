from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.data.batches import evaluation_batches
from ofa_bert.evaluate import predict_logits
from ofa_bert.export.parity import check_parity
from ofa_bert.export.static import export_static
from ofa_bert.extraction import extract
from ofa_bert.importance import score_importance
from ofa_bert.nn.mode import evaluating
from ofa_bert.subnet import full_subnet
from tests.tiny import tiny_batch, tiny_dataset, tiny_model, tiny_tokenizer


def score(model, folder):
    score_importance(model, evaluation_batches(tiny_dataset(3), 2))


def predict(model, folder):
    predict_logits(model, tiny_dataset(3))


def compare(model, folder):
    batch, whole = tiny_batch(), full_subnet(model.config)
    ids = (batch["input_ids"], batch["token_type_ids"])
    check_parity(model, whole, extract(model, whole), None, [ids])


def export(model, folder):
    tokenizer = tiny_tokenizer(folder / "tokenizer")
    export_static(model, folder / "static", tokenizer=tokenizer, max_seq_length=8)


def modes_of(model):
    return [layer.training for layer in model.sublayers(include_self=True)]


def model_in(mode):
    """A model all of whose layers are in a mode, or with a part of it in the other one."""
    model = tiny_model()
    model.train() if mode.startswith("training") else model.eval()
    if mode == "training, its embeddings not":
        model.bert.embeddings.eval()
    if mode == "evaluation, its encoder not":
        model.bert.encoder.train()
    return model


MODES = ["training", "evaluation", "training, its embeddings not", "evaluation, its encoder not"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("use", [score, predict, compare, export])
def test_every_layer_comes_back_in_the_mode_it_was_in(use, mode, tmp_path):
    model = model_in(mode)
    before = modes_of(model)
    use(model, tmp_path)
    assert modes_of(model) == before


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("use", [score, predict, compare, export])
def test_every_layer_comes_back_after_an_error(use, mode, tmp_path, monkeypatch):
    model, seen = model_in(mode), []

    def fails(*args, **kwargs):
        seen.append(modes_of(model))
        raise RuntimeError("no answer")

    before = modes_of(model)
    monkeypatch.setattr(model, "forward", fails)
    monkeypatch.setattr("paddle.jit.save", fails)
    with pytest.raises(RuntimeError, match="no answer"):
        use(model, tmp_path)
    assert modes_of(model) == before
    assert not np.any(seen)
    assert len(seen) == 1


def test_it_is_in_eval_mode_in_between():
    model = model_in("training")
    with evaluating(model):
        assert not any(modes_of(model))
    assert all(modes_of(model))
