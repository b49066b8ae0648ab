from __future__ import annotations

import numpy as np
import pytest

from tests.tiny import tiny_batch, tiny_config, tiny_model

import paddle  # isort: skip

from ofa_bert.export.network import LogitsNetwork
from ofa_bert.extraction import extract
from ofa_bert.subnet import Subnet


def logits_of(network, batch):
    with paddle.no_grad():
        return network(*(paddle.to_tensor(batch[n]) for n in ("input_ids", "token_type_ids")))


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize(("batch_size", "seq_len"), [(1, 1), (1, 5), (4, 9)])
def test_it_computes_what_the_model_computes(num_layers, batch_size, seq_len):
    model = tiny_model(tiny_config(num_layers=num_layers, hidden_act="gelu_new", pad_token_id=0))
    batch = tiny_batch(seq_len, batch_size, seq_len)
    found = logits_of(LogitsNetwork(model), batch)
    # The same float32 products, added up in another order.
    np.testing.assert_allclose(found, logits_of(model, batch).logits, rtol=1e-5, atol=1e-5)


def test_layers_may_differ_in_size():
    model = extract(tiny_model(), Subnet((0, 1), (3, 1), (5, 20)))
    batch = tiny_batch()
    found = logits_of(LogitsNetwork(model), batch)
    np.testing.assert_allclose(found, logits_of(model, batch).logits, rtol=1e-5, atol=1e-5)


def test_it_holds_the_models_own_parameters():
    model = tiny_model()
    ours = {id(parameter) for parameter in LogitsNetwork(model).parameters()}
    assert ours == {id(parameter) for parameter in model.parameters()}
