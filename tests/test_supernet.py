from __future__ import annotations

import json

import numpy as np
import pytest

from ofa_bert.checkpoint.save import save_model
from ofa_bert.errors import InputError
from ofa_bert.importance import Importance
from ofa_bert.supernet import (
    is_supernet,
    load_supernet,
    make_supernet,
    save_supernet,
    trained_widths,
)
from tests.oracles import bert_of, weights_of
from tests.tiny import tiny_batch, tiny_config, tiny_model, tiny_tokenizer

import paddle  # isort: skip

CONFIG = tiny_config(num_neurons=8, labels=("bad", "good", "so-so"), task_name="SST-2")
WIDTHS = (0.5, 1.0, 0.75)


def random_importance(seed=0):
    generator = np.random.default_rng(seed)
    return Importance(
        heads=tuple(generator.random(4) for _ in range(2)),
        neurons=tuple(generator.random(8) for _ in range(2)),
    )


@pytest.fixture
def supernet():
    return make_supernet(tiny_model(CONFIG), random_importance(), WIDTHS)


@pytest.fixture
def saved(supernet, tmp_path):
    save_supernet(supernet, tmp_path / "supernet", tiny_tokenizer(tmp_path / "tokenizer"))
    return tmp_path / "supernet"


def test_heads_and_neurons_stand_in_order_of_importance():
    # By hand: scores 1, 3, 2, 0 sort to the old places 1, 2, 0, 3.
    scores = Importance(
        heads=(np.array([1.0, 3.0, 2.0, 0.0]),) * 2,
        neurons=(np.arange(8.0),) * 2,  # ascending: reversed
    )
    model = tiny_model(CONFIG)
    supernet = make_supernet(model, scores, WIDTHS)
    before, after = weights_of(model), weights_of(supernet.model)
    for layer in ("bert.encoder.layers.0", "bert.encoder.layers.1"):
        bias = f"{layer}.self_attn.v_proj.bias"
        heads = before[bias].reshape(4, 3)[[1, 2, 0, 3]]
        np.testing.assert_array_equal(after[bias], heads.ravel())
        weight = f"{layer}.linear2.weight"
        np.testing.assert_array_equal(after[weight], before[weight][::-1])


def test_the_model_it_is_made_of_is_untouched_and_computes_the_same():
    model = tiny_model(CONFIG)
    before = weights_of(model)
    supernet = make_supernet(model, random_importance(), WIDTHS)
    for name, values in weights_of(model).items():
        np.testing.assert_array_equal(values, before[name])
    batch = tiny_batch()
    expected, _ = bert_of(model, batch)
    inputs = {name: paddle.to_tensor(values) for name, values in batch.items()}
    np.testing.assert_allclose(supernet.model(**inputs).logits.numpy(), expected, atol=1e-5)
    supernet.model.classifier.bias.set_value(np.zeros(3, "float32"))
    np.testing.assert_array_equal(model.classifier.bias.numpy(), before["classifier.bias"])


def test_widths_are_sorted_and_any_other_can_be_asked_for(supernet):
    # Of 4 heads and 8 neurons.
    kept = {w: (s.num_heads[0], s.num_neurons[0]) for w, s in supernet.widths.items()}
    assert list(kept.items()) == [(1.0, (4, 8)), (0.75, (3, 6)), (0.5, (2, 4))]
    assert supernet.subnet(0.25).num_heads == (1, 1)


def test_two_widths_of_one_sub_network_are_refused():
    with pytest.raises(InputError, match=r"widths 0\.51 and 0\.5 are the same sub-network"):
        make_supernet(tiny_model(CONFIG), random_importance(), (1.0, 0.51, 0.5))


def test_what_is_saved_is_what_is_loaded(supernet, saved):
    loaded = load_supernet(saved)
    assert loaded.widths == supernet.widths
    assert loaded.model.config == supernet.model.config
    assert not loaded.model.training
    expected = weights_of(supernet.model)
    found = weights_of(loaded.model)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    for part in ("heads", "neurons"):
        ours = getattr(supernet.importance, part)
        theirs = getattr(loaded.importance, part)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_order_that_an_earlier_version_wrote_is_not_needed(supernet, saved):
    """It follows from the importance; what stood there was read and checked by nothing."""
    described = json.loads((saved / "supernet.json").read_text())
    assert "permutation" not in described
    described["permutation"] = {"heads": [[7, 7, -3, 7]] * 2, "neurons": "anything"}
    (saved / "supernet.json").write_text(json.dumps(described))
    assert load_supernet(saved).widths == supernet.widths


def test_the_directory_says_what_it_is(saved):
    described = json.loads((saved / "supernet.json").read_text())
    assert described["width_mult_list"] == [1.0, 0.75, 0.5]
    assert described["task_name"] == "SST-2"
    assert described["labels"] == ["bad", "good", "so-so"]
    assert described["versions"]["paddle"] == paddle.__version__
    assert is_supernet(saved)
    assert list(trained_widths(saved, CONFIG)) == [1.0, 0.75, 0.5]


def test_a_plain_model_is_no_supernet(tmp_path):
    save_model(tiny_model(CONFIG), tmp_path)
    assert not is_supernet(tmp_path)
    with pytest.raises(InputError, match=r"holds no supernet\.json: .* make one with run_glue_ofa"):
        load_supernet(tmp_path)


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone.* does not exist; check the path"):
        load_supernet(tmp_path / "gone")


def without(key):
    return lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != key})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], r"supernet\.json is not valid JSON"),
        (lambda text: "", r"supernet\.json is not valid JSON"),
        (lambda text: "[1]", r"supernet\.json must hold a JSON object"),
        (without("width_mult_list"), r"supernet\.json is not as run_glue_ofa\.py writes it: .*wid"),
        (without("importance"), r"supernet\.json is not as run_glue_ofa\.py writes it: .*imp"),
        (
            lambda text: text.replace("0.75", "1.75"),
            r"is not as .* writes it: width_mult must be above 0 and at most 1; got 1\.75",
        ),
        (
            lambda text: text.replace('"neurons"', '"neuron"'),
            r"is not as run_glue_ofa\.py writes it: .*neuron",
        ),
    ],
)
def test_a_damaged_description_is_named(saved, damage, message):
    path = saved / "supernet.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=message):
        load_supernet(saved)
