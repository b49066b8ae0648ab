"""Layers of one width: what the user ties, skips and lists chooses together."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, RunConfig
from tests.ofa.chain import CONFIG, X, by_hand, chain


def test_layers_of_one_width_choose_together():
    ofa = OFA(
        chain(), RunConfig(same_search_space=[["first", "middle.0"], ["middle.0", "middle.2"]])
    )
    assert list(ofa.ofa_layers) == ["first", "middle.1"]
    ofa.set_net_config({"middle.2": {"expand_ratio": 0.5}})
    config = ofa.get_current_config
    assert [config[name]["expand_ratio"] for name in CONFIG] == [0.5, 0.5, 1.0, 0.5]
    with pytest.raises(InputError, match=r"first and middle.2 must have one width, .* 0.5 and 1.0"):
        ofa.set_net_config({"first": {"expand_ratio": 0.5}, "middle.2": {"expand_ratio": 1.0}})


@pytest.mark.parametrize("narrowed", ["first", "middle.2"])
def test_layers_of_one_width_have_the_choices_that_all_of_them_have(narrowed):
    run = RunConfig(
        same_search_space=[["first", "middle.2"]],
        ofa_layers={narrowed: {"expand_ratio": [0.25, 0.5]}},
    )
    ofa = OFA(chain(expand_ratio=[0.25, 0.5, 1.0]), run)
    assert ofa.ofa_layers["first"] == {"expand_ratio": [0.25, 0.5]}
    for config in (ofa.get_current_config, ofa.sample_config("largest")):
        ratios = [config[name]["expand_ratio"] for name in CONFIG]
        assert ratios == [0.5, 1.0, 1.0, 0.5]
    assert ofa.sample_config("smallest")["middle.2"] == {"expand_ratio": 0.25}
    ofa.eval()
    expected = by_hand(ofa.model, X.numpy(), [3, 6, 6, 3])
    np.testing.assert_allclose(ofa(X).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            {"first": [0.25, 0.5], "middle.0": [1.0]},
            r"first and middle.0 must have one width, .*; first may have expand_ratio "
            r"\[0.25, 0.5\], middle.0 expand_ratio \[1.0\]; give both the same in ofa_layers",
        ),
        # Each two of them have one in common.
        (
            {"first": [0.25, 0.5], "middle.0": [0.5, 1.0], "middle.1": [0.25, 1.0]},
            r"first and middle.1 must .*; first may have expand_ratio \[0.5\], middle.1 "
            r"expand_ratio \[0.25, 1.0\]; ",
        ),
    ],
)
def test_layers_of_one_width_must_have_one_in_common(choices, message):
    settings = {
        "same_search_space": [list(choices)],
        "ofa_layers": {name: {"expand_ratio": ratios} for name, ratios in choices.items()},
    }
    model = chain(expand_ratio=[0.25, 0.5, 1.0])
    with pytest.raises(InputError, match=message) as caught:
        OFA(model, RunConfig(**settings))
    assert "\n" not in str(caught.value)
    # Where one of them keeps its full width, all do, whatever the choices.
    ofa = OFA(model, RunConfig(**settings, skip_layers=["first"]))
    assert {ofa.get_current_config[name]["expand_ratio"] for name in choices} == {1.0}


def test_a_skipped_layer_keeps_its_group():
    run = RunConfig(same_search_space=[["first", "middle.0"]], skip_layers=["middle.0"])
    ofa = OFA(chain(), run)
    assert list(ofa.ofa_layers) == ["middle.1", "middle.2"]
    with pytest.raises(InputError, match="first must keep its full width"):
        ofa.set_net_config({"first": {"expand_ratio": 0.5}})


def test_choices_by_hand():
    ofa = OFA(chain(), RunConfig(ofa_layers={"first": {"expand_ratio": [0.25, 0.75]}}))
    assert ofa.ofa_layers["first"] == {"expand_ratio": [0.25, 0.75]}
    assert ofa.get_current_config["first"] == {"expand_ratio": 0.75}
