"""Masks of heads reach attention, and only where they are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import compat
from ofa_bert.ofa.active import running
from tests.ofa.encoder import BATCHES, HEADS, LAYERS, NEURONS, converted, encoder, encoder_forward
from tests.tiny import paddle

nn = paddle.nn


def test_a_head_mask_reaches_attention_through_the_run():
    model = converted(encoder())
    mask = np.random.default_rng(5).normal(size=(LAYERS, HEADS)).astype("float32")
    ids, types, _ = BATCHES[0]
    masks = compat.head_masks(model, paddle.to_tensor(mask))
    with running(head_masks=masks):
        logits = model(ids, types).numpy()
    expected = encoder_forward(model, ids.numpy(), HEADS, NEURONS, mask)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    full = encoder_forward(model, ids.numpy(), HEADS, NEURONS)
    np.testing.assert_allclose(model(ids, types).numpy(), full, atol=1e-5)


def test_mask_lists_are_switched_on_and_off():
    model, ids = converted(encoder()), BATCHES[0][0]
    forward = nn.TransformerEncoder.forward
    mask = paddle.to_tensor(np.random.default_rng(5).normal(size=(LAYERS, HEADS)).astype("float32"))
    expected = encoder_forward(model, ids.numpy(), HEADS, NEURONS, mask.numpy())
    plain = model(ids).numpy()
    lists = compat.enable_mask_lists()
    try:
        np.testing.assert_allclose(model(ids, None, [None, mask]).numpy(), expected, atol=1e-5)
        np.testing.assert_allclose(model(ids, None, [None, None]).numpy(), plain, atol=1e-6)
        row = encoder_forward(model, ids.numpy(), HEADS, NEURONS, [mask[0].numpy()] * LAYERS)
        np.testing.assert_allclose(model(ids, None, [None, mask[0]]).numpy(), row, atol=1e-5)
        with pytest.raises(InputError, match=r"\[mask, head_mask\]; got a list of 3"):
            model(ids, None, [None, None, None])
        with pytest.raises(InputError, match="a head mask needs a converted network"):
            encoder()(ids, None, [None, mask])
    finally:
        lists.disable()
    lists.disable()
    assert nn.TransformerEncoder.forward is forward
    with compat.enable_mask_lists():
        assert nn.TransformerEncoder.forward is not forward
    assert nn.TransformerEncoder.forward is forward
