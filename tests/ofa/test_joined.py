"""What is known of joined layers adds up, and what is set and what ran stay within it."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA
from tests.ofa.chain import Chain, X, chain
from tests.ofa.values import randomised

HALF = {"first": {"expand_ratio": 0.5}}


class Around(Chain):
    """Two layers in a row, and a shortcut around the second if it is told so."""

    def forward(self, x, around=False):
        x = self.first(x)
        y = self.middle[0](x)
        return self.last(x + y if around else y)


def test_what_one_trace_found_a_later_one_keeps():
    ofa = OFA(chain(Around))
    free = []
    for around in (False, True, False):
        ofa.trace(X, around=around)
        free.append(set(ofa.ofa_layers))
    assert free == [{"first", "middle.0"}, {"first"}, {"first"}]
    assert set(ofa.joined.given.free()) == {"first", *(f"middle.{i}" for i in range(3))}


def test_a_trace_that_what_is_set_does_not_fit_changes_nothing():
    ofa = OFA(chain(Around))
    ofa.set_net_config({**HALF, "middle.0": {"expand_ratio": 1.0}})
    before = ofa.joined
    with pytest.raises(InputError, match=r"first and middle.0 must have one width"):
        ofa.trace(X, around=True)
    assert ofa.joined is before
    ofa.set_net_config(HALF)
    ofa.trace(X, around=True)
    assert ofa.get_current_config["middle.0"] == {"expand_ratio": 0.5}


def test_what_ran_before_a_trace_is_not_run_after_it():
    ofa = OFA(chain(Around))
    ofa.eval()
    ofa.set_net_config({**HALF, "middle.0": {"expand_ratio": 1.0}})
    ofa(X)
    ofa.set_net_config(None)
    ofa.trace(X, around=True)
    network = randomised(Around())
    expected = network(X, around=True).numpy()
    np.testing.assert_allclose(ofa(X, around=True).numpy(), expected, atol=1e-6)
