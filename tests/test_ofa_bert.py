"""A BERT through the Once-For-All interface, with nothing of paddle or paddlenlp replaced."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Convert, DistillConfig, RunConfig, compat, supernet, utils
from ofa_bert.ofa.active import running
from ofa_bert.ofa.utils import nlp_utils
from tests.oracles import bert, gelu, softmax
from tests.tiny import paddle, randomise, tiny_batch

nn = paddle.nn
HEADS, LAYERS, DIM, NEURONS, CLASSES = 4, 2, 3, 24, 3
HIDDEN = HEADS * DIM
EPS = 1e-3


class Encoder(nn.Layer):
    """A transformer of paddle's own layers, with extra linear layers around it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(60, HIDDEN)
        self.before = nn.Linear(HIDDEN, HIDDEN)
        layer = nn.TransformerEncoderLayer(HIDDEN, HEADS, NEURONS, dropout=0.0, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, LAYERS)
        self.pooler = nn.Linear(HIDDEN, HIDDEN)
        self.classifier = nn.Linear(HIDDEN, CLASSES)

    def forward(self, input_ids, token_type_ids=None, attention_mask=None):
        mask = None
        if isinstance(attention_mask, list):
            mask = attention_mask
        elif attention_mask is not None:
            mask = ((1.0 - attention_mask.astype("float32")) * -1e4).unsqueeze([1, 2])
        encoded = self.encoder(self.before(self.embed(input_ids)), mask)
        return self.classifier(paddle.tanh(self.pooler(encoded[:, 0])))


def encoder(seed=0):
    model = Encoder()
    randomise(model, seed)
    model.eval()
    return model


def converted(model, widths=(0.25, 0.5, 1.0)):
    return Convert(supernet(expand_ratio=widths)).convert(model)


def batch_of(seed=0, rows=3):
    batch = tiny_batch(seed, rows)
    labels = np.random.default_rng(seed).integers(0, CLASSES, rows)
    return (*(paddle.to_tensor(batch[n]) for n in ("input_ids", "token_type_ids")), labels)


BATCHES = [(ids, types, paddle.to_tensor(labels)) for ids, types, labels in map(batch_of, range(3))]


def layer_forward(w, x, heads, neurons, head_mask=None, neuron_mask=None, eps=1e-5):
    """One encoder layer in NumPy, by its own first heads and neurons."""

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    contexts = []
    for head in range(heads):
        at = slice(head * DIM, (head + 1) * DIM)
        q, k, v = (
            x @ w[f"self_attn.{n}_proj.weight"][:, at] + w[f"self_attn.{n}_proj.bias"][at]
            for n in "qkv"
        )
        factor = 1.0 if head_mask is None else head_mask[head]
        contexts.append(factor * softmax(q @ k.swapaxes(-1, -2) / np.sqrt(DIM)) @ v)
    context = np.concatenate(contexts, -1)
    attended = (
        context @ w["self_attn.out_proj.weight"][: heads * DIM] + w["self_attn.out_proj.bias"]
    )
    x = norm(x + attended, "norm1")
    z = x @ w["linear1.weight"][:, :neurons] + w["linear1.bias"][:neurons]
    a = gelu(z) * (1.0 if neuron_mask is None else neuron_mask)
    return norm(x + a @ w["linear2.weight"][:neurons] + w["linear2.bias"], "norm2")


def encoder_forward(model, ids, heads, neurons, head_mask=None):
    w = {n.replace(".fn", ""): p.numpy().astype("float64") for n, p in model.named_parameters()}
    x = w["embed.weight"][ids] @ w["before.weight"] + w["before.bias"]
    for layer in range(LAYERS):
        prefix = f"encoder.layers.{layer}."
        own = {n.removeprefix(prefix): v for n, v in w.items() if n.startswith(prefix)}
        mask = None if head_mask is None else head_mask[layer]
        x = layer_forward(own, x, heads, neurons, mask)
    pooled = np.tanh(x[:, 0] @ w["pooler.weight"] + w["pooler.bias"])
    return pooled @ w["classifier.weight"] + w["classifier.bias"]


# Any transformer


@pytest.mark.parametrize(
    ("width", "heads", "neurons"),
    [(1.0, 4, 24), (0.5, 2, 12), (0.67, 3, 16), (0.3, 1, 7), (0.83, 3, 20), (0.01, 1, 1)],
)
def test_any_width_is_the_network_cut_by_hand(width, heads, neurons):
    ofa = OFA(converted(encoder()))
    ofa.eval()
    config = utils.dynabert_config(ofa, width)
    ofa.set_net_config(config)
    ids, types, _ = BATCHES[0]
    expected = encoder_forward(ofa.model, ids.numpy(), heads, neurons)
    np.testing.assert_allclose(ofa(ids, types).numpy(), expected, atol=1e-5)
    small = ofa.export(config)
    np.testing.assert_allclose(small(ids, types).numpy(), expected, atol=1e-5)
    assert type(small.encoder.layers[0].self_attn) is nn.MultiHeadAttention
    assert small.encoder.layers[0].self_attn.num_heads == heads
    assert small.encoder.layers[1].linear2.weight.shape == [neurons, HIDDEN]


def test_widths_go_where_the_structure_says():
    ofa = OFA(converted(encoder()))
    config = utils.dynabert_config(ofa, 0.5)
    narrowed = {name for name, sizes in config.items() if sizes["expand_ratio"] == 0.5}
    expected = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "linear1"}
    assert narrowed == {f"encoder.layers.{i}.{name}" for i in range(LAYERS) for name in expected}
    assert {sizes["expand_ratio"] for name, sizes in config.items() if name not in narrowed} == {
        1.0
    }
    assert "pooler" in config


def test_widths_in_channels_and_a_feed_forward_of_ones_own():
    class Own(nn.Layer):
        def __init__(self):
            super().__init__()
            self.enter, self.leave = nn.Linear(4, 10), nn.Linear(10, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            return self.head(x + self.leave(paddle.tanh(self.enter(x))))

    model = Convert(supernet(channel=[(5, 10), (2, 4), (2,)])).convert(Own())
    config = utils.dynabert_config(OFA(model), 0.5)
    assert config == {"enter": {"channel": 5}, "leave": {"channel": 4}}


class Shallower(Encoder):
    """An encoder of whose layers the first ``depth`` run."""

    def forward(self, input_ids, depth=None):
        x = self.before(self.embed(input_ids))
        for layer in self.encoder.layers[:depth]:
            x = layer(x)
        return self.classifier(paddle.tanh(self.pooler(x[:, 0])))


def test_a_configuration_without_a_depth_is_of_the_deepest():
    model = Shallower()
    randomise(model)
    ofa = OFA(converted(model), RunConfig(elastic_depth=[1, 2]))
    ofa.eval()
    ids, *_ = BATCHES[0]
    ofa.set_net_config(utils.dynabert_config(ofa, 0.5))
    assert ofa.get_current_config["depth"] == 2
    expected = encoder_forward(ofa.model, ids.numpy(), 2, 12)
    np.testing.assert_allclose(ofa(ids).numpy(), expected, atol=1e-5)
    assert utils.dynabert_config(ofa, 0.5, depth_mult=1)["depth"] == 1
    with pytest.raises(InputError, match=r"depth must be one of \[1, 2\]; got 1\.0"):
        ofa.set_net_config(utils.dynabert_config(ofa, 0.5, depth_mult=1.0))
    assert "depth" not in utils.dynabert_config(OFA(ofa.model), 0.5)


def test_a_wrong_width():
    with pytest.raises(InputError, match="width_mult must be above 0 and at most 1"):
        utils.dynabert_config(OFA(converted(encoder())), 1.5)
    with pytest.raises(InputError, match="dynabert_config takes an OFA; got a "):
        utils.dynabert_config(converted(encoder()), 0.5)


def scores_by_difference(model, ids, labels, layer, step=1e-5):
    """Central differences of the loss in a factor on each head and each neuron, in float64."""
    w = {n.replace(".fn", ""): p.numpy().astype("float64") for n, p in model.named_parameters()}

    def loss(heads, neurons):
        x = w["embed.weight"][ids] @ w["before.weight"] + w["before.bias"]
        for i in range(LAYERS):
            prefix = f"encoder.layers.{i}."
            own = {n.removeprefix(prefix): v for n, v in w.items() if n.startswith(prefix)}
            masks = (heads, neurons) if i == layer else (None, None)
            x = layer_forward(own, x, HEADS, NEURONS, *masks)
        pooled = np.tanh(x[:, 0] @ w["pooler.weight"] + w["pooler.bias"])
        logits = pooled @ w["classifier.weight"] + w["classifier.bias"]
        probs = softmax(logits)
        return -np.log(probs[np.arange(len(labels)), labels]).mean()

    heads, neurons = np.zeros(HEADS), np.zeros(NEURONS)
    for scores, place in ((heads, 0), (neurons, 1)):
        for i in range(len(scores)):
            masks = [np.ones(HEADS), np.ones(NEURONS)]
            values = []
            for sign in (1, -1):
                masks[place][i] = 1 + sign * step
                values.append(loss(*masks))
            scores[i] = (values[0] - values[1]) / (2 * step)
    return heads, neurons


@pytest.mark.parametrize("is_converted", [False, True])
def test_importance_is_the_sum_of_each_batchs_own_gradients(is_converted):
    model = converted(encoder()) if is_converted else encoder()
    heads, neurons = nlp_utils.compute_neuron_head_importance(
        "sst-2", model, BATCHES, num_layers=LAYERS, num_heads=HEADS
    )
    assert heads.shape == [LAYERS, HEADS]
    for layer in range(LAYERS):
        signed = [
            scores_by_difference(model, ids.numpy(), labels.numpy(), layer)
            for ids, _, labels in BATCHES
        ]
        expected = sum(np.abs(head) for head, _ in signed)
        np.testing.assert_allclose(heads[layer].numpy(), expected, rtol=1e-3, atol=1e-5)
        # The part after the activation; the part before it is checked by the weights below.
        after = sum(np.abs(neuron) for _, neuron in signed)
        assert (neurons[layer] >= after - 1e-5).all()
    assert all(p.grad is None for p in model.parameters())


def test_neuron_importance_is_of_weights_times_gradients():
    model = encoder()
    _, neurons = nlp_utils.compute_neuron_head_importance("x", model, BATCHES[:1], LAYERS, HEADS)
    ids, types, labels = BATCHES[0]
    nn.functional.cross_entropy(model(ids, types), labels).backward()
    for layer, scores in zip(model.encoder.layers, neurons, strict=True):
        w1, b1, w2 = layer.linear1.weight, layer.linear1.bias, layer.linear2.weight
        before = (w1.numpy() * w1.grad.numpy()).sum(0) + b1.numpy() * b1.grad.numpy()
        after = (w2.numpy() * w2.grad.numpy()).sum(1)
        np.testing.assert_allclose(scores, np.abs(before) + np.abs(after), rtol=1e-3, atol=1e-6)


def test_importance_of_named_inputs_and_of_two_loaders():
    model = encoder()
    one, _ = nlp_utils.compute_neuron_head_importance("x", model, BATCHES, LAYERS, HEADS)
    named = [{"input_ids": i, "token_type_ids": t, "labels": y} for i, t, y in BATCHES]
    loaders = (named[:1], named[1:])
    other, _ = nlp_utils.compute_neuron_head_importance("mnli", model, loaders, LAYERS, HEADS)
    np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 3}, r"2 layers of \[4, 4\] heads; got 3 and 4"),
        ({"num_heads": 2}, "got 2 and 2"),
        ({"intermediate_name": "lin"}, "name 0 pairs"),
        ({"data_loader": []}, "data_loader gave no batch"),
    ],
)
def test_importance_of_what_is_not_there(changes, message):
    given = {"data_loader": BATCHES, "num_layers": LAYERS, "num_heads": HEADS, **changes}
    with pytest.raises(InputError, match=message):
        nlp_utils.compute_neuron_head_importance("x", encoder(), **given)


@pytest.mark.parametrize("is_converted", [False, True])
def test_reordering_changes_nothing_and_puts_the_best_first(is_converted):
    model = converted(encoder()) if is_converted else encoder()
    ids, types, _ = BATCHES[0]
    expected = model(ids, types).numpy()
    heads, neurons = nlp_utils.compute_neuron_head_importance("x", model, BATCHES, LAYERS, HEADS)
    old = {name: p.numpy() for name, p in model.named_parameters()}
    nlp_utils.reorder_neuron_head(model, heads, neurons)
    np.testing.assert_allclose(model(ids, types).numpy(), expected, atol=1e-5)
    again = nlp_utils.compute_neuron_head_importance("x", model, BATCHES, LAYERS, HEADS)
    for layer in range(LAYERS):
        np.testing.assert_allclose(again[0][layer].numpy(), -np.sort(-heads[layer].numpy()), 1e-3)
        np.testing.assert_allclose(again[1][layer], -np.sort(-neurons[layer]), rtol=1e-3, atol=1e-6)
    moved = {n for n, p in model.named_parameters() if not np.array_equal(p.numpy(), old[n])}
    kinds = ("q_proj", "k_proj", "v_proj", "out_proj", "linear1", "linear2")
    assert moved
    assert all(any(kind in name for kind in kinds) for name in moved)
    assert not any("out_proj" in name and "bias" in name for name in moved)
    assert not any("linear2" in name and "bias" in name for name in moved)


def test_a_reordering_that_fails_moves_nothing():
    model = encoder()
    old = {name: p.numpy() for name, p in model.named_parameters()}
    heads = np.arange(LAYERS * HEADS).reshape(LAYERS, HEADS)
    with pytest.raises(InputError, match=r"index must order all .* neurons"):
        nlp_utils.reorder_neuron_head(model, heads, [np.arange(2)] * LAYERS)
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.numpy(), old[name])


def test_an_order_by_hand():
    linear = nn.Linear(3, 2)
    weight, bias = linear.weight.numpy(), np.array([1.0, 2.0], "float32")
    linear.bias.set_value(bias)
    nlp_utils.reorder_neuron(linear, [1, 0], dim=1)
    np.testing.assert_array_equal(linear.weight.numpy(), weight[:, [1, 0]])
    np.testing.assert_array_equal(linear.bias.numpy(), bias[[1, 0]])
    nlp_utils.reorder_neuron(linear, paddle.to_tensor([2, 0, 1]))
    np.testing.assert_array_equal(linear.weight.numpy(), weight[:, [1, 0]][[2, 0, 1]])
    np.testing.assert_array_equal(linear.bias.numpy(), bias[[1, 0]])
    with pytest.raises(InputError, match=r"order all 3 neurons, each once; got \[0, 0, 1\]"):
        nlp_utils.reorder_neuron(linear, [0, 0, 1])
    with pytest.raises(InputError, match=r"takes a paddle.nn.MultiHeadAttention; got a Linear"):
        nlp_utils.reorder_head(linear, [0])


# Masks of heads


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


# paddlenlp's own BERT


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
    w = {n.replace(".fn", ""): p.numpy().astype("float64") for n, p in model.named_parameters()}
    for layer in range(LAYERS):
        name = f"bert.encoder.layers.{layer}"
        w[f"{name}.self_attn.out_proj.weight"] = w[f"{name}.self_attn.out_proj.weight"][
            : heads * DIM
        ]
        w[f"{name}.linear1.weight"] = w[f"{name}.linear1.weight"][:, :neurons]
        w[f"{name}.linear1.bias"] = w[f"{name}.linear1.bias"][:neurons]
        w[f"{name}.linear2.weight"] = w[f"{name}.linear2.weight"][:neurons]
    return bert(w, [heads] * LAYERS, DIM, EPS, **batch)[0]


@pytest.mark.filterwarnings("ignore")
def test_their_bert_goes_the_whole_way(transformers):
    functions = [
        nn.MultiHeadAttention.forward,
        nn.MultiHeadAttention._prepare_qkv,
        nn.TransformerEncoder.forward,
        nn.TransformerEncoderLayer.forward,
        transformers.BertModel.forward,
    ]
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
    assert functions == [
        nn.MultiHeadAttention.forward,
        nn.MultiHeadAttention._prepare_qkv,
        nn.TransformerEncoder.forward,
        nn.TransformerEncoderLayer.forward,
        transformers.BertModel.forward,
    ]


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
