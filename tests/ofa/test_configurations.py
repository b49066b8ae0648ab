"""What an OFA is set to is what runs, in NumPy, and a failed call changes nothing."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ofa_bert.ofa import OFA, Block, RunConfig, SuperLinear
from tests.ofa.chain import CONFIG, UNTIED, WIDTHS, X, by_hand, chain
from tests.tiny import paddle

nn = paddle.nn


def test_a_configuration_is_the_network_cut_by_hand():
    ofa = OFA(chain())
    ofa.set_net_config(CONFIG)
    np.testing.assert_allclose(ofa(X).numpy(), by_hand(ofa.model, X.numpy(), WIDTHS), atol=1e-6)
    assert ofa.get_current_config == CONFIG
    ofa.set_net_config({})
    np.testing.assert_allclose(ofa(X).numpy(), by_hand(ofa.model, X.numpy(), [6] * 4), atol=1e-6)


def test_depth_is_handed_to_the_network():
    ofa = OFA(chain(), RunConfig(elastic_depth=(1, 2, 3)))
    ofa.set_net_config({"depth": 1, "middle.0": {"expand_ratio": 0.5}})
    expected = by_hand(ofa.model, X.numpy(), [6, 3], depth=1)
    np.testing.assert_allclose(ofa(X).numpy(), expected, atol=1e-6)
    assert ofa.ofa_layers["depth"] == [1, 2, 3]


def test_a_depth_may_be_numpys():
    ofa = OFA(chain(), RunConfig(elastic_depth=[np.int64(3), np.int64(1)]))
    ofa.set_net_config({"depth": np.int64(1)})
    expected = by_hand(ofa.model, X.numpy(), [6, 6], depth=1)
    np.testing.assert_allclose(ofa(X).numpy(), expected, atol=1e-6)
    ofa.set_net_config({})
    assert ofa.get_current_config["depth"] == 3
    assert [type(depth) for depth in ofa.ofa_layers["depth"]] == [int, int]


def test_names_of_the_original_layers_do_as_well():
    ofa = OFA(chain())
    keys = list(ofa.layers)
    assert keys[0].startswith("linear_")
    assert list(ofa.layers.values()) == list(ofa.ofa_layers.values())
    ofa.set_net_config({keys[0]: {"expand_ratio": 0.5}})
    assert ofa.get_current_config["first"] == {"expand_ratio": 0.5}


def test_layers_of_ones_own_in_blocks():
    class Own(nn.Layer):
        def __init__(self):
            super().__init__()
            self.one = Block(SuperLinear(4, 8, {"channel": (2, 4, 8)}), key="mine")
            self.fixed = Block(SuperLinear(8, 3, {"channel": (1, 3)}), fixed=True)

        def forward(self, x):
            return self.fixed(self.one(x))

    ofa = OFA(Own(), UNTIED)
    assert ofa.ofa_layers == {"one": {"channel": [2, 4, 8]}}
    ofa.set_net_config({"mine": {"channel": 2}})
    assert ofa(X).shape == [3, 3]


def test_two_owners_of_one_network_and_two_threads_do_not_disturb_each_other():
    model = chain()
    one = OFA(model)
    one.set_net_config(CONFIG)
    other = OFA(model)
    smallest = {name: {"expand_ratio": 0.5} for name in CONFIG}
    other.set_net_config(smallest)
    expected = {0: by_hand(model, X.numpy(), WIDTHS), 1: by_hand(model, X.numpy(), [3] * 4)}
    results: dict[int, list] = {0: [], 1: []}
    for ofa in (one, other):
        ofa.trace(X)  # which no two threads can do at once

    def run(number, ofa):
        for _ in range(20):
            results[number].append(ofa(X).numpy())

    threads = [threading.Thread(target=run, args=item) for item in enumerate((one, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, outputs in results.items():
        assert len(outputs) == 20
        for output in outputs:
            np.testing.assert_allclose(output, expected[number], atol=1e-6)
    # Called by itself, the network is at full size.
    np.testing.assert_allclose(model(X).numpy(), by_hand(model, X.numpy(), [6] * 4), atol=1e-6)


def test_no_configuration_aliases_another():
    ofa = OFA(chain(), UNTIED)
    given = {"first": {"expand_ratio": 0.5}}
    ofa.set_net_config(given)
    given["first"]["expand_ratio"] = 1.0
    taken = ofa.get_current_config
    assert taken["first"] == {"expand_ratio": 0.5}
    taken["first"]["expand_ratio"] = 1.0
    assert ofa.get_current_config["first"] == {"expand_ratio": 0.5}
    ofa.ofa_layers["first"]["expand_ratio"].clear()
    ofa.layers.clear()
    assert ofa.ofa_layers["first"] == {"expand_ratio": [0.5, 1.0]}
    assert ofa.model.first.candidate_config is not ofa.model.first.candidate_config


def test_a_failed_forward_leaves_the_object_as_it_was():
    np.random.seed(3)
    ofa = OFA(chain(), RunConfig(same_search_space=[], dynamic_batch_size=[2], n_epochs=[[1]]))
    ofa.set_epoch(0)
    ofa(X)
    state = {k: v for k, v in ofa.__dict__.items() if k.startswith("_") and "layers" not in k}
    generator = ofa._generator.bit_generator.state
    with pytest.raises(ValueError, match=r"(?i)matmul|shape|dim"):
        ofa(paddle.ones([2, 9]))
    for name, value in state.items():
        assert ofa.__dict__[name] is value or ofa.__dict__[name] == value, name
    assert ofa._generator.bit_generator.state == generator
