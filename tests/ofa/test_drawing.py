"""What runs next where nothing is set, and tokens that stand for it."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, RunConfig
from tests.ofa.chain import CONFIG, UNTIED, X, by_hand, chain


def test_the_largest_where_nothing_is_open():
    ofa = OFA(chain(), UNTIED, train_full=True)
    ofa(X)
    assert {sizes["expand_ratio"] for sizes in ofa.get_current_config.values()} == {1.0}


def test_evaluation_draws_nothing():
    ofa = OFA(chain(), UNTIED)
    ofa.eval()
    np.testing.assert_allclose(ofa(X).numpy(), by_hand(ofa.model, X.numpy(), [6] * 4), atol=1e-6)
    ofa.train()
    for _ in range(5):
        ofa(X)
    trained = ofa.get_current_config
    ofa.eval()
    for _ in range(3):
        ofa(X)
        assert ofa.get_current_config == trained


def test_numpys_seed_repeats_what_is_drawn():
    def configs():
        np.random.seed(7)
        ofa = OFA(chain(), UNTIED)
        return [(ofa(X), ofa.get_current_config)[1] for _ in range(6)]

    assert configs() == configs()
    assert len({str(config) for config in configs()}) > 1


def test_setting_none_draws_again():
    ofa = OFA(chain(), UNTIED)
    ofa.set_net_config(CONFIG)
    ofa(X)
    assert ofa.get_current_config == CONFIG
    ofa.set_net_config(None)
    drawn = [(ofa(X), ofa.get_current_config)[1] for _ in range(8)]
    assert any(config != CONFIG for config in drawn)


def test_epochs_may_be_numpys():
    ofa = OFA(chain(), UNTIED)
    for epoch in np.arange(2):
        ofa.set_epoch(epoch)


def test_tokens_stand_for_configurations_that_run():
    ofa = OFA(chain(expand_ratio=[0.25, 0.5, 1.0]), RunConfig(same_search_space=[]))
    ofa.set_task("width")
    ofa.tokenize()
    assert ofa.token_map["expand_ratio"]["first"] == {0: 0.25, 1: 0.5, 2: 1.0}
    assert ofa.search_cands == [[0, 1, 2]] * 4
    config = ofa.decode_token([1, 2, 0, 2])
    assert [config[name]["expand_ratio"] for name in CONFIG] == [0.5, 1.0, 0.25, 1.0]
    assert ofa.get_current_config == config
    assert ofa(X).shape == [3, 2]
    for wrong in ([1], [3, 0, 0, 0]):
        with pytest.raises(InputError, match="one number of each of search_cands"):
            ofa.decode_token(wrong)


def test_tokens_of_all_tasks():
    ofa = OFA(chain(), RunConfig(same_search_space=[], elastic_depth=[1, 3]))
    ofa.tokenize()
    assert ofa.token_map["depth"] == {"depth": {0: 1, 1: 3}}
    assert ofa.decode_token([0, 1, 1, 1, 0])["depth"] == 1
