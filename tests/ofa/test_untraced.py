"""What is asked for before it is known which layers are joined fits them, or is refused."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Convert, RunConfig, supernet
from ofa_bert.ofa.budget import count_macs
from ofa_bert.ofa.calibrate import calibrate
from tests.ofa.chain import Chain
from tests.ofa.oracles import original_weights
from tests.ofa.residual import IMAGES, by_hand, residual
from tests.ofa.values import draw, randomised
from tests.tiny import paddle

nn = paddle.nn
HALF = {"stem": {"expand_ratio": 0.5}}
UNKNOWN = "must know which layers are joined; run the network once or call ofa.trace"


class Beside(nn.Layer):
    """Two convolutions side by side: neither can get narrower without what follows seeing it."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2D(3, 4, 1), nn.Conv2D(3, 4, 1)
        self.norm = nn.BatchNorm2D(8)
        self.free = nn.Conv2D(8, 6, 3, padding=1)
        self.last = nn.Linear(6, 2)

    def forward(self, x):
        x = self.norm(paddle.concat([self.left(x), self.right(x)], 1))
        return self.last(self.free(x).mean([2, 3]))


def beside():
    convert = Convert(supernet(expand_ratio=[0.5, 1.0], kernel_size=(1, 3))).convert
    return OFA(convert(randomised(Beside())))


def test_a_configuration_set_before_runs_with_what_is_joined():
    ofa = OFA(residual())
    ofa.eval()
    ofa.set_net_config(HALF)
    expected = by_hand(ofa.model, IMAGES.numpy(), 4, 12, 8, 6, {}, train=False)
    small = ofa.export(HALF, [[1, 3, 8, 8]], ["float32"])
    assert small.project.weight.shape == [4, 12, 1, 1]
    for network in (small, ofa):
        np.testing.assert_allclose(network(IMAGES).numpy(), expected, atol=1e-4, rtol=1e-4)
    assert ofa.get_current_config["project"] == {"expand_ratio": 0.5}


@pytest.mark.parametrize(
    "use",
    [
        lambda ofa, config: (ofa.set_net_config(config), ofa(IMAGES)),
        lambda ofa, config: ofa.export(config, [[2, 3, 8, 8]], ["float32"]),
        lambda ofa, config: (ofa(IMAGES), ofa.export(config)),
        lambda ofa, config: (ofa(IMAGES), calibrate(ofa, config, [IMAGES])),
    ],
    ids=["forward", "export", "export of what ran", "calibrate"],
)
def test_one_that_does_not_fit_is_refused_where_it_is_used(use):
    ofa = beside()
    ofa.eval()
    before = {name: p.numpy() for name, p in ofa.state_dict().items()}
    with pytest.raises(InputError, match=r"left must keep its full width.*got 0.5") as caught:
        use(ofa, {"left": {"expand_ratio": 0.5}})
    assert "\n" not in str(caught.value)
    for name, parameter in ofa.state_dict().items():
        np.testing.assert_array_equal(parameter.numpy(), before[name])


@pytest.mark.parametrize(
    ("call", "who"),
    [
        (lambda ofa: ofa.sample_config("smallest"), "sample_config"),
        (lambda ofa: ofa.sample_config(), "sample_config"),
        (lambda ofa: ofa.search(lambda own, config: 0.0, population=2, generations=1), "search"),
    ],
)
def test_what_needs_inputs_says_so_and_takes_those_of_a_forward(call, who):
    ofa = beside()
    ofa.eval()
    with pytest.raises(InputError, match=f"^{who} {UNKNOWN}") as caught:
        call(ofa)
    assert "\n" not in str(caught.value)
    ofa(IMAGES)
    call(ofa)
    assert set(ofa.ofa_layers) == {"free"}


def test_a_sample_fits_and_the_largest_needs_nothing():
    ofa = beside()
    ofa.eval()
    assert ofa.sample_config("largest")["left"]["expand_ratio"] == 1.0
    ofa(IMAGES)
    ofa.set_net_config(ofa.sample_config("smallest"))
    assert ofa(IMAGES).shape == [2, 2]
    assert ofa.get_current_config["right"]["expand_ratio"] == 1.0


def test_no_trace_is_made_within_another():
    ofa = beside()
    ofa.eval()
    ofa.set_net_config({"free": {"expand_ratio": 0.5}})
    with pytest.raises(InputError, match=r"must be known .*; call ofa.trace\(inputs\) before that"):
        count_macs(ofa, IMAGES)
    assert paddle.in_dynamic_mode()
    ofa.trace(IMAGES)
    assert count_macs(ofa, IMAGES) == 2 * (64 * (3 * 8 + 8 * 3 * 9) + 3 * 2)


class TrainedBeside(Chain):
    """A chain with a shortcut in training only."""

    def forward(self, x):
        x = self.middle[0](self.first(x))
        return self.last(x + self.middle[1](x) if self.training else x)


def test_an_evaluation_that_comes_first_does_not_hide_what_training_joins():
    np.random.seed(0)
    ofa = OFA(Convert(supernet(expand_ratio=[0.5, 1.0])).convert(randomised(TrainedBeside())))
    x = paddle.to_tensor(draw(3, 4))
    half = {name: {"expand_ratio": 0.5} for name in ("first", "middle.0")}
    ofa.eval()
    ofa.set_net_config(half)
    assert ofa(x).shape == [3, 2]
    ofa.train()
    w = original_weights(ofa.model)
    h = x.numpy()
    for name in ("first", "middle.0"):
        h = h @ w[f"{name}.weight"][: h.shape[1], :3] + w[f"{name}.bias"][:3]
    h = h + h @ w["middle.1.weight"][:3, :3] + w["middle.1.bias"][:3]
    expected = h @ w["last.weight"][:3] + w["last.bias"]
    np.testing.assert_allclose(ofa(x).numpy(), expected, atol=1e-6)
    ofa.set_net_config(None)
    for _ in range(8):
        assert ofa(x).shape == [3, 2]
        config = ofa.get_current_config
        assert config["middle.1"] == config["middle.0"]


class Reads(Chain):
    """A network that cannot be traced: it reads a number."""

    def forward(self, x):
        return super().forward(x if float(x.sum()) > 0 else -x)


def test_a_network_that_cannot_be_traced_runs_whole_or_with_what_is_joined_given():
    x = paddle.to_tensor(draw(3, 4))
    for run_config in (None, RunConfig(same_search_space=[])):
        model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(randomised(Reads()))
        expected = randomised(Reads())(x).numpy()
        ofa = OFA(model, run_config)
        ofa.eval()
        for config in (None, {"first": {"expand_ratio": 1.0}}):
            ofa.set_net_config(config)
            np.testing.assert_allclose(ofa(x).numpy(), expected, atol=1e-6)
        ofa.set_net_config({"first": {"expand_ratio": 0.5}})
        if run_config is not None:
            assert ofa(x).shape == [3, 2]
            continue
        with pytest.raises(InputError, match=r"could not be traced .*same_search_space") as caught:
            ofa(x)
        assert "\n" not in str(caught.value)


def test_a_smaller_kernel_alone_joins_nothing():
    class ReadsToo(Beside):
        def forward(self, x):
            return super().forward(x if float(x.sum()) > 0 else -x)

    space = supernet(expand_ratio=[0.5, 1.0], kernel_size=(1, 3))
    ofa = OFA(Convert(space).convert(randomised(ReadsToo())))
    ofa.eval()
    ofa.set_net_config({"free": {"kernel_size": 1}})
    small = ofa.export(ofa.get_current_config, [[2, 3, 8, 8]], ["float32"])
    np.testing.assert_allclose(ofa(IMAGES).numpy(), small(IMAGES).numpy(), atol=1e-6)
    assert small.free.weight.shape == [6, 8, 1, 1]


def test_calibration_takes_the_first_batch_for_it():
    ofa, other = OFA(residual()), OFA(residual())
    other.eval()
    other(IMAGES)
    other.trace(IMAGES)
    calibrate(ofa, HALF, iter([IMAGES, 2 * IMAGES]))
    calibrate(other, HALF, [IMAGES, 2 * IMAGES])
    for found, expected in zip(ofa.buffers(), other.buffers(), strict=True):
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
    with pytest.raises(InputError, match="calibration needs batches"):
        calibrate(OFA(residual()), HALF, [])
