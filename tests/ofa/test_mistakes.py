"""Wrong settings, configurations and calls of an OFA are one line."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Convert, RunConfig, supernet
from tests.ofa.chain import UNTIED, Chain, X, by_hand, chain
from tests.tiny import paddle

nn = paddle.nn


def test_a_network_must_be_converted_and_a_depth_elastic():
    with pytest.raises(InputError, match=r"Chain has no elastic layer; convert it first: Convert"):
        OFA(Chain())
    with pytest.raises(InputError, match="depth is not elastic; give RunConfig elastic_depth"):
        OFA(chain()).set_net_config({"depth": 1})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"firts": {"expand_ratio": 1.0}}, "no elastic layer 'firts'; did you mean 'first'?"),
        ({"first": {"expand_rate": 1.0}}, "layer first has no 'expand_rate'; did you mean 'expand"),
        ({"first": {"expand_ratio": 1.5}}, "expand_ratio of first must be at most 1.0, .* got 1.5"),
        ({"first": {"expand_ratio": 0}}, "expand_ratio of first must be .* got 0"),
        ({"first": 0.5}, r"first must have a dict such as \{'expand_ratio': 0.5\}; got 0.5"),
        ({"last": {"expand_ratio": 0.5}}, "layer last has no 'expand_ratio'"),
        ({"depth": 4}, r"depth must be one of \[1, 2\]; got 4"),
        ({"depth": 1.0}, r"depth must be one of \[1, 2\]; got 1.0"),
        ({"depth": True}, r"depth must be one of \[1, 2\]; got True"),
        (["first"], "a configuration must be a dict of layers"),
        ({0: {}}, "no elastic layer 0; known: depth, first"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_changes_nothing(config, message):
    ofa = OFA(chain(), RunConfig(elastic_depth=(1, 2)))
    ofa.set_net_config({"depth": 2, "first": {"expand_ratio": 0.5}})
    before = ofa.get_current_config
    with pytest.raises(InputError, match=message) as caught:
        ofa.set_net_config(config)
    assert "\n" not in str(caught.value)
    assert ofa.get_current_config == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"skip_layers": ["frist"]}, "skip_layers: no elastic layer 'frist'; did you mean 'first'"),
        ({"same_search_space": [["frist"]]}, "same_search_space: no elastic layer 'frist'"),
        ({"ofa_layers": {"frist": {}}}, "ofa_layers: no elastic layer 'frist'"),
        ({"ofa_layers": {"first": {"kernel_size": [3]}}}, "layer first has no 'kernel_size'"),
        ({"ofa_layers": {"first": {"expand_ratio": [2]}}}, r"at most 1.0; got \[2\]"),
        ({"n_epochs": [[1], [2]]}, r"one entry for each task of \['width'\]"),
        ({"dynamic_batch_size": [1, 2]}, r"one entry for each task of \['width'\]"),
        ({"n_epochs": [[2, 1]]}, "ascending epochs"),
        ({"n_epochs": [1]}, "ascending epochs"),
        ({"n_epochs": [[1]], "dynamic_batch_size": [1, 2]}, "one entry for each of the 1 tasks"),
        ({"dynamic_batch_size": [0]}, "whole numbers above 0"),
        ({"train_batch_size": 0}, "train_batch_size must be a whole number above 0; got 0"),
        ({"n_epochs": 5}, r"n_epochs must be a list such as \[\[1\], \[2, 3\]\]; got 5"),
        ({"n_epochs": [[0]]}, "ascending epochs"),
        ({"dynamic_batch_size": 2}, r"dynamic_batch_size must be a list .*; got 2"),
        ({"init_learning_rate": [0.1]}, r"init_learning_rate must be a list .*; got \[0.1\]"),
        ({"elastic_depth": 3}, "elastic_depth must be a list .*; got 3"),
        ({"skip_layers": "first"}, r"skip_layers must be a list .*; got 'first'"),
        ({"same_search_space": ["first", "middle.0"]}, "same_search_space must be a list such as"),
        ({"ofa_layers": {"first": {"expand_ratio": 0.5}}}, "ofa_layers must be a dict such as"),
        ({"ofa_layers": {"first": {"expand_ratio": ["a"]}}}, r"at most 1.0; got \['a'\]"),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(InputError, match=message) as caught:
        OFA(chain(), RunConfig(**settings))
    assert "\n" not in str(caught.value)


def test_kernels_by_hand_are_of_those_the_layer_has():
    network = nn.Sequential(nn.Conv2D(1, 2, 5), nn.Conv2D(2, 1, 1))
    model = Convert(supernet(kernel_size=[3, 5])).convert(network)
    with pytest.raises(InputError, match=r"kernel_size of 0 must be of \[3, 5\]; got \[1, 5\]"):
        OFA(model, RunConfig(ofa_layers={"0": {"kernel_size": [1, 5]}}))


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("full_graph", [True, False])
def test_a_compiled_network_would_run_one_sub_network_for_ever(full_graph, whole):
    model = chain()
    if whole:
        model = paddle.jit.to_static(model, full_graph=full_graph)
    else:
        model.middle[1].fn = paddle.jit.to_static(model.middle[1].fn, full_graph=full_graph)
    name = "Chain" if whole else r"middle.1.fn \(SuperLinear\)"
    with pytest.raises(InputError, match=f"{name} is compiled .* to_static what ofa.export") as c:
        OFA(model, UNTIED)
    assert "\n" not in str(c.value)


def test_depth_needs_a_network_that_takes_it():
    model = Convert(supernet(expand_ratio=[1.0])).convert(nn.Sequential(nn.Linear(2, 2)))

    class NoDepth(nn.Layer):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(x)

    with pytest.raises(InputError, match=r"must take a depth argument, .* NoDepth.forward takes x"):
        OFA(NoDepth(), RunConfig(elastic_depth=[1]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ofa: ofa.set_task("wdith"), "no task 'wdith'; did you mean 'width'"),
        (lambda ofa: ofa.set_task("depth"), "no layer has a choice of depth; .* tasks: width"),
        (lambda ofa: ofa.set_task("width", phase=-1), "phase must be a whole number"),
        (lambda ofa: ofa.set_epoch(-1), "epoch must be a whole number"),
        (lambda ofa: ofa.set_epoch("1"), "epoch must be a whole number"),
        (lambda ofa: ofa.calc_distill_loss(), "give DistillConfig mapping_layers"),
        (lambda ofa: ofa.decode_token([0]), "call tokenize first"),
        (lambda ofa: ofa.decode_token(0), "a token must be a list of numbers; got 0"),
        (lambda ofa: ofa.set_task(5), "the name of a task or a list of them; got 5"),
        (lambda ofa: ofa.search(0.5), "eval_func must be a function; got 0.5"),
        (lambda ofa: ofa.search(len, 0.5), "condition must be a function; got 0.5"),
        (lambda ofa: OFA(5), "got a int instead of a Layer"),
        (lambda ofa: OFA(chain(), {}), "got a dict instead of a RunConfig"),
        (lambda ofa: OFA(chain(), None, {}), "got a dict instead of a DistillConfig"),
        (lambda ofa: OFA(chain()).search(lambda o, c: 0.0), "run the network once"),
    ],
)
def test_a_wrong_call_is_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call(OFA(chain(), UNTIED))
    assert "\n" not in str(caught.value)


def test_to_static_that_is_switched_off_compiles_nothing():
    model = chain()
    model.forward = paddle.jit.to_static(model.forward, full_graph=True)
    paddle.jit.enable_to_static(False)
    try:
        ofa = OFA(model)
        ofa.eval()
        for ratio, width in ((0.5, 3), (1.0, 6)):
            config = {"first": {"expand_ratio": ratio}}
            ofa.set_net_config(config)
            expected = by_hand(model, X.numpy(), [width, 6, 6, 6])
            np.testing.assert_allclose(ofa(X).numpy(), expected, atol=1e-6)
            np.testing.assert_allclose(ofa.export(config)(X).numpy(), expected, atol=1e-6)
    finally:
        paddle.jit.enable_to_static(True)
