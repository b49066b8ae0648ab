"""Training that cannot be traced runs as it did; threads wait for each other's traces."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Convert, supernet
from tests.ofa.chain import Chain, by_hand, chain
from tests.ofa.values import draw, randomised
from tests.tiny import paddle

nn = paddle.nn
X = paddle.to_tensor(draw(3, 4))
SHIFT = paddle.to_tensor(draw(2, seed=3))
HALF = {"first": {"expand_ratio": 0.5}}


@pytest.fixture(autouse=True)
def _paddle_is_as_it_was():
    before = dict(vars(paddle.Tensor))
    yield
    assert dict(vars(paddle.Tensor)) == before
    assert paddle.in_dynamic_mode()


class Penalised(Chain):
    """It gives the squares of all weights too."""

    def forward(self, x):
        y = super().forward(x)
        return (y, sum((p**2).sum() for p in self.parameters())) if self.training else y


class Averaging(Chain):
    """It keeps a moving average of a layer's weights."""

    def __init__(self):
        super().__init__()
        self.slow = nn.Linear(4, 6)

    def forward(self, x):
        if self.training:
            with paddle.no_grad():
                for fast, slow in zip(self.first.parameters(), self.slow.parameters(), strict=True):
                    slow.set_value(slow * 0.75 + fast * 0.25)
        return super().forward(x)


class Logging(Chain):
    def forward(self, x):
        y = super().forward(x)
        if self.training:
            self.seen = float(y.mean())
        return y


class Global(Chain):
    def forward(self, x):
        y = super().forward(x)
        return y + (SHIFT * 2)[[0, 1]] if self.training else y


class Asking(Chain):
    """Its training forward takes more, and gives the loss."""

    def forward(self, x, labels=None):
        y = super().forward(x)
        return nn.functional.cross_entropy(y, labels) if self.training else y


@pytest.mark.parametrize("cls", [Penalised, Averaging, Logging, Global])
def test_it_runs_with_one_warning_and_is_joined_as_in_evaluation(cls):
    ofa = OFA(chain(cls))
    with pytest.warns(UserWarning, match=r"in training, .*ofa.eval\(\); ofa.trace\(x\)") as caught:
        ofa(X)
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert set(ofa.ofa_layers) == {"first", "middle.0", "middle.1", "middle.2"}
    before = {name: p.numpy() for name, p in ofa.state_dict().items()}
    ofa.set_net_config(HALF)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ofa(X)
    expected = by_hand(ofa.model, X.numpy(), [3, 6, 6, 6])
    if cls is Penalised:
        squares = sum((p.numpy().astype("float64") ** 2).sum() for p in ofa.parameters())
        np.testing.assert_allclose(found[1].item(), squares, rtol=1e-5)
        found = found[0]
    if cls is Global:
        expected = expected + 2 * SHIFT.numpy()
    if cls is Averaging:
        fast, slow = before["model.first.fn.weight"], before["model.slow.fn.weight"]
        np.testing.assert_allclose(
            ofa.model.slow.weight.numpy(), slow * 0.75 + fast * 0.25, atol=1e-6
        )
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_what_the_warning_names_does_without_it():
    ofa = OFA(chain(Penalised))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ofa.eval()
        ofa.trace(X)
        ofa.train()
        assert ofa(X)[0].shape == [3, 2]


def test_in_evaluation_such_a_tensor_is_an_error():
    class Always(Chain):
        def forward(self, x):
            return super().forward(x) + sum((p**2).sum() for p in self.parameters())

    ofa = OFA(chain(Always))
    with pytest.raises(InputError, match=r"__pow__ of a tensor that is not read as an attribute"):
        ofa.trace(X)
    assert paddle.in_dynamic_mode()


def test_an_export_needs_no_inputs_of_training():
    ofa = OFA(chain(Asking))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = ofa.export(HALF, [[1, 4]], ["float32"])
        labels = paddle.to_tensor([0, 1, 1])
        ofa(X, labels)
    expected = by_hand(ofa.model, X.numpy(), [3, 6, 6, 6])
    np.testing.assert_allclose(small(X).numpy(), expected, atol=1e-6)


class BesideInTraining(Chain):
    def forward(self, x):
        x = self.first(x)
        y = self.middle[0](x)
        return self.last(x + y if self.training else y)


def test_what_ran_before_need_not_fit_what_is_joined_now():
    ofa = OFA(chain(BesideInTraining))
    ofa.eval()
    ofa.set_net_config(HALF)
    ofa(X)
    ofa.set_net_config(None)
    ofa.train()
    ofa.sample_config("smallest")
    ofa.eval()
    expected = randomised(BesideInTraining())
    expected.eval()
    np.testing.assert_allclose(ofa(X).numpy(), expected(X).numpy(), atol=1e-6)


def test_threads_may_run_before_any_trace():
    model = chain()
    expected = by_hand(model, X.numpy(), [3, 6, 6, 6])
    wrong, begun = [], threading.Barrier(4)

    def work(ofa):
        try:
            assert paddle.in_dynamic_mode()
            begun.wait(10.0)  # a thread that begins while another traces stays in static mode
            for _ in range(10):
                np.testing.assert_allclose(ofa(X).numpy(), expected, atol=1e-6)
        except BaseException as error:
            wrong.append(error)

    owners = [OFA(model) for _ in range(4)]
    for ofa in owners:
        ofa.eval()
        ofa.set_net_config(HALF)
    threads = [threading.Thread(target=work, args=(ofa,)) for ofa in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert paddle.in_dynamic_mode()


def test_a_kernel_needs_no_trace():
    class Reads(nn.Sequential):
        def forward(self, x):
            y = super().forward(x)
            self.seen = float(y.mean())
            return y

    convert = Convert(supernet(kernel_size=(1, 3))).convert
    ofa = OFA(convert(Reads(nn.Conv2D(3, 4, 3, padding=1), nn.Conv2D(4, 2, 1))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ofa(paddle.to_tensor(draw(2, 3, 5, 5))).shape == [2, 2, 5, 5]
        ofa.sample_config("smallest")
