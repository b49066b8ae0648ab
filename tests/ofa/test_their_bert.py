"""paddlenlp's own BERT, with nothing of paddle or paddlenlp replaced."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from ofa_bert.ofa import OFA, DistillConfig, compat, utils
from ofa_bert.ofa.utils import nlp_utils
from tests.ofa.encoder import BATCHES, CLASSES, DIM, HEADS, HIDDEN, LAYERS, NEURONS, converted
from tests.ofa.oracles import original_weights
from tests.oracles import bert
from tests.tiny import paddle, randomise, tiny_batch

nn = paddle.nn
EPS = 1e-3


@pytest.fixture
def transformers():
    return pytest.importorskip("paddlenlp.transformers")


def their_bert(transformers, seed=0, dropout=0.0):
    config = transformers.BertConfig(
        vocab_size=60,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=NEURONS,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        max_position_embeddings=20,
        layer_norm_eps=EPS,
        num_labels=CLASSES,
    )
    model = transformers.BertForSequenceClassification(config)
    for layer in model.sublayers():
        if isinstance(layer, nn.LayerNorm):
            layer._epsilon = EPS
    randomise(model, seed)
    model.eval()
    return model


def logits_by_hand(model, heads, neurons, batch):
    """The oracle, on weights cut to some heads and neurons."""
    w = original_weights(model)
    for layer in range(LAYERS):
        name = f"bert.encoder.layers.{layer}"
        w[f"{name}.self_attn.out_proj.weight"] = w[f"{name}.self_attn.out_proj.weight"][
            : heads * DIM
        ]
        w[f"{name}.linear1.weight"] = w[f"{name}.linear1.weight"][:, :neurons]
        w[f"{name}.linear1.bias"] = w[f"{name}.linear1.bias"][:neurons]
        w[f"{name}.linear2.weight"] = w[f"{name}.linear2.weight"][:neurons]
    return bert(w, [heads] * LAYERS, DIM, EPS, **batch)[0]


def functions_of(transformers):
    """Give the functions of paddle and paddlenlp that their BERT goes through."""
    return [
        nn.MultiHeadAttention.forward,
        nn.MultiHeadAttention._prepare_qkv,
        nn.TransformerEncoder.forward,
        nn.TransformerEncoderLayer.forward,
        transformers.BertModel.forward,
    ]


@pytest.mark.filterwarnings("ignore")
def test_their_bert_goes_the_whole_way(transformers):
    functions = functions_of(transformers)
    model, teacher = their_bert(transformers), their_bert(transformers, seed=1)
    batch = tiny_batch()
    inputs = {name: paddle.to_tensor(values) for name, values in batch.items()}
    expected = logits_by_hand(model, HEADS, NEURONS, batch)
    origin = model.state_dict()
    converted(model, (0.5, 2 / 3, 1.0))
    utils.set_state_dict(model, origin)
    np.testing.assert_allclose(model(**inputs).numpy(), expected, atol=2e-5)

    layers = [f"bert.encoder.layers.{i}" for i in range(LAYERS)]
    distill = DistillConfig(
        lambda_distill=0.1, teacher_model=teacher, mapping_layers=["bert.embeddings", *layers]
    )
    ofa = OFA(model, distill_config=distill, elastic_order=["width"])
    heads, neurons = nlp_utils.compute_neuron_head_importance(
        "sst-2", ofa.model, BATCHES, num_layers=LAYERS, num_heads=HEADS
    )
    utils.reorder_neuron_head(ofa.model, heads, neurons)
    np.testing.assert_allclose(model(**inputs).numpy(), expected, atol=2e-5)

    ofa.set_epoch(0)
    ofa.set_task("width")
    optimizer = paddle.optimizer.AdamW(1e-2, parameters=ofa.model.parameters())
    losses = []
    for _ in range(3):
        total = 0.0
        for width in (1.0, 2 / 3, 0.5, 0.3):
            ofa.set_net_config(utils.dynabert_config(ofa, width))
            logits, answer = ofa(**inputs)
            loss = (
                ofa.calc_distill_loss(inputs["attention_mask"]) + (logits - answer).square().mean()
            )
            total += loss.item()
            loss.backward()
        losses.append(total)
        optimizer.step()
        optimizer.clear_grad()
    assert losses[-1] < losses[0]

    ofa.eval()
    for width, kept, count in ((1.0, 4, 24), (2 / 3, 3, 16), (0.5, 2, 12), (0.3, 1, 7)):
        config = utils.dynabert_config(ofa, width)
        ofa.set_net_config(config)
        student, _ = ofa(**inputs)
        by_hand = logits_by_hand(ofa.model, kept, count, batch)
        np.testing.assert_allclose(student.numpy(), by_hand, atol=5e-5)
        origin_model = their_bert(transformers)
        small = ofa.export(
            origin_model, config, input_shapes=[[1, 4]] * 2, input_dtypes=["int64"] * 2
        )
        assert small is origin_model
        np.testing.assert_allclose(small(**inputs).numpy(), by_hand, atol=5e-5)
    assert functions == functions_of(transformers)


@pytest.mark.filterwarnings("ignore")
def test_mask_lists_of_their_bert(transformers):
    model, batch = converted(their_bert(transformers)), tiny_batch()
    ids, types = (paddle.to_tensor(batch[n]) for n in ("input_ids", "token_type_ids"))
    mask = np.random.default_rng(5).normal(size=(LAYERS, HEADS)).astype("float32")
    forward = transformers.BertModel.forward
    w = {n.replace(".fn", ""): p.numpy().astype("float64") for n, p in model.named_parameters()}
    expected = bert(w, [HEADS] * LAYERS, DIM, EPS, **batch, head_mask=list(mask))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lists = compat.enable_mask_lists()
    with lists:
        both = [None, paddle.to_tensor(mask)]
        named = model(ids, types, attention_mask=both, return_dict=True, output_hidden_states=True)
        assert len(named.hidden_states) == LAYERS + 1
        logits = model(ids, types, attention_mask=both)
        np.testing.assert_array_equal(named.logits.numpy(), logits.numpy())
        np.testing.assert_allclose(logits.numpy(), expected, atol=2e-5)
        lone = their_bert(transformers)(ids, types, attention_mask=[None, None])
    assert transformers.BertModel.forward is forward
    np.testing.assert_allclose(lone.numpy(), model(ids, types).numpy(), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_sub_networks_of_their_bert_are_drawn_too(transformers):
    np.random.seed(0)
    ofa = OFA(converted(their_bert(transformers)))
    inputs = {name: paddle.to_tensor(values) for name, values in tiny_batch().items()}
    for _ in range(2):
        assert ofa(**inputs).shape == [3, CLASSES]
    heads = [f"bert.encoder.layers.{layer}.self_attn.q_proj" for layer in range(LAYERS)]
    neurons = [f"bert.encoder.layers.{layer}.linear1" for layer in range(LAYERS)]
    # The hidden width is one choice of all that is added up, the pooler's its own.
    hidden = ["bert.embeddings.word_embeddings", "bert.pooler.dense"]
    assert set(ofa.ofa_layers) == {*heads, *neurons, *hidden}
    config = ofa.get_current_config
    ofa.set_net_config(config)
    ofa.eval()
    small = ofa.export(config)
    np.testing.assert_allclose(small(**inputs).numpy(), ofa(**inputs).numpy(), atol=1e-5)
