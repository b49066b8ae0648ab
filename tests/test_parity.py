from __future__ import annotations

import numpy as np
import pytest

from ofa_bert import executor as executor_module
from ofa_bert.checkpoint.save import save_model
from ofa_bert.errors import InputError
from ofa_bert.executor import fastest_way
from ofa_bert.export.parity import Parity, ParityError, check_parity
from ofa_bert.export.static import export_static
from ofa_bert.extraction import extract
from ofa_bert.subnet import subnet_at_width
from tests.tiny import tiny_batch, tiny_config, tiny_model, tiny_tokenizer

CONFIG = tiny_config(num_neurons=29)
HALF = subnet_at_width(CONFIG, 0.5)


def token_ids(seed=0, batch=3, seq_len=7):
    batch = tiny_batch(seed, batch, seq_len)
    return batch["input_ids"], batch["token_type_ids"]


class OffsetPredictor:
    """Answers what ``model`` answers, and ``offset`` more."""

    def __init__(self, model, offset):
        self.model, self.offset = model, offset

    def logits(self, input_ids, token_type_ids):
        import paddle

        ids, types = paddle.to_tensor(input_ids), paddle.to_tensor(token_type_ids)
        return self.model(ids, types).logits.numpy() + self.offset


def test_files_on_disk_equal_the_supernet(tmp_path):
    model = tiny_model(CONFIG)
    sub_model, tokenizer = extract(model, HALF), tiny_tokenizer(tmp_path / "tokenizer")
    save_model(sub_model, tmp_path / "sub", tokenizer)
    export_static(sub_model, tmp_path / "static", tokenizer=tokenizer, max_seq_length=16)
    model.train()
    parity = check_parity(
        model, HALF, tmp_path / "sub", tmp_path / "static", [token_ids(0), token_ids(1, 2, 17)]
    )
    assert parity.rows == 5
    assert parity.largest < 1e-5
    assert model.training


def test_the_differences_are_the_largest_of_all_batches():
    model = tiny_model(CONFIG)
    sub_model = extract(model, HALF)
    bias = sub_model.classifier.bias
    bias.set_value(bias + np.array([1e-5, -5e-5, 0], "float32"))
    sub_model.train()  # dropout would move the logits by far more
    parity = check_parity(
        model, HALF, sub_model, OffsetPredictor(sub_model, -2e-5), [token_ids(0), token_ids(1)]
    )
    assert sub_model.training
    assert parity.supernet_vs_sub_model == pytest.approx(5e-5, abs=1e-6)
    assert parity.sub_model_vs_static == pytest.approx(2e-5, abs=1e-6)


@pytest.mark.parametrize("offset", [2e-4, -2e-4, float("nan")])
def test_a_static_graph_that_differs_fails(offset):
    model = tiny_model(CONFIG)
    sub_model = extract(model, HALF)
    with pytest.raises(ParityError, match=r"to 1e-04; .*static graph (2.0e-04|nan); nothing was"):
        check_parity(model, HALF, sub_model, OffsetPredictor(sub_model, offset), [token_ids()])


@pytest.mark.parametrize("seq_len", [7, 160])
def test_a_static_graph_that_differs_for_small_batches_alone_fails(seq_len, monkeypatch):
    monkeypatch.setattr(executor_module, "mkl_is_fast", lambda: True)
    model = tiny_model(CONFIG)
    sub_model = extract(model, HALF)

    class WrongWhenSmall(OffsetPredictor):
        def logits(self, input_ids, token_type_ids):
            small = not fastest_way(input_ids.size).onednn
            return super().logits(input_ids, token_type_ids) - (0 if small else self.offset)

    batch = token_ids(batch=20, seq_len=seq_len)
    right, wrong = WrongWhenSmall(sub_model, 0.0), WrongWhenSmall(sub_model, 2e-4)
    assert check_parity(model, HALF, sub_model, right, [batch]).rows == 20
    with pytest.raises(ParityError, match=r"static graph 2\.0e-04"):
        check_parity(model, HALF, sub_model, wrong, [batch])


def test_a_sub_model_that_lost_a_bias_fails():
    model = tiny_model(CONFIG)
    sub_model = extract(model, HALF)
    bias = sub_model.bert.encoder.layers[0].self_attn.v_proj.bias
    bias.set_value(bias * 0.0)
    with pytest.raises(ParityError, match=r"supernet vs sub-model [0-9.]+e-0[0-3], no static"):
        check_parity(model, HALF, sub_model, None, [token_ids()])


def test_no_rows_are_refused():
    model = tiny_model(CONFIG)
    with pytest.raises(InputError, match="parity_inputs must hold at least one row; got none"):
        check_parity(model, HALF, extract(model, HALF), None, [])


def test_the_line_that_is_printed():
    assert str(Parity(408, 1.2e-6, 3e-7)) == (
        "parity on 408 rows, largest logit difference: "
        "supernet vs sub-model 1.2e-06, sub-model vs static graph 3.0e-07"
    )
    assert str(Parity(8, 0.0, None)).endswith("supernet vs sub-model 0.0e+00, no static graph")
    assert str(Parity(8, 0.0, None, "random rows")).startswith("parity on 8 random rows, largest")
