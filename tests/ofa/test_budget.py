"""What a network costs, by hand, and the widest one within a budget."""

from __future__ import annotations

import itertools

import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Convert, supernet
from ofa_bert.ofa.budget import (
    count_macs,
    count_params,
    measure_latency_ms,
    within_latency,
    within_macs,
    within_params,
)
from ofa_bert.ofa.search import evolutionary_search
from tests.tiny import paddle

nn = paddle.nn
InputSpec = paddle.static.InputSpec


class Mixed(nn.Layer):
    """One of each product: convolutions plain, grouped and transposed, linear, attention."""

    def __init__(self, width=6):
        super().__init__()
        self.conv = nn.Conv2D(3, width, 3, stride=2, padding=1)
        self.grouped = nn.Conv2D(width, width, 3, padding=1, groups=width)
        self.up = nn.Conv2DTranspose(width, 5, 2, stride=2)
        self.query = nn.Linear(5, 4)
        self.out = nn.Linear(4, 2, bias_attr=False)

    def forward(self, x):
        x = self.up(nn.functional.relu(self.grouped(self.conv(x))))
        x = self.query(x.flatten(2).transpose([0, 2, 1]))
        x = paddle.matmul(paddle.matmul(x, x, transpose_y=True), x)
        return self.out(paddle.matmul(x, x, transpose_x=True))


def mixed_macs(width):
    conv = width * 4 * 4 * 3 * 9
    grouped = width * 4 * 4 * 9
    up = width * 4 * 4 * 5 * 4  # each of 4 x 4 inputs makes 2 x 2 outputs of 5 channels
    query = 64 * 5 * 4
    attention = 64 * 64 * 4 * 2
    gram = 4 * 4 * 64
    return conv + grouped + up + query + attention + gram + 4 * 4 * 2


def mixed_params(width):
    return (27 * width + width) + (9 * width + width) + (width * 20 + 5) + 24 + 8


def test_costs_by_hand():
    model = Mixed()
    assert count_macs(model, InputSpec([1, 3, 8, 8])) == mixed_macs(6)
    assert count_macs(model, paddle.ones([5, 3, 8, 8])) == 5 * mixed_macs(6)
    assert count_params(model) == mixed_params(6)


def test_shared_parameters_and_statistics():
    shared = nn.Linear(3, 3)
    assert count_params(nn.Sequential(shared, nn.BatchNorm1D(3), shared)) == 12 + 6


def test_mobilenet_as_published():
    """MobileNet (arXiv:1704.04861, table 4): 569 million mult-adds, 4.2 million parameters."""
    model = paddle.vision.models.mobilenet_v1(pretrained=False)
    assert round(count_macs(model, InputSpec([1, 3, 224, 224])) / 1e6) == 569
    assert round(count_params(model) / 1e6, 1) == 4.2


def test_products_that_are_not_counted_are_an_error():
    lstm = nn.LSTM(3, 4)
    with pytest.raises(InputError, match=r"count_macs does not know pd_op.rnn, .* own"):
        count_macs(lstm, InputSpec([2, 5, 3]))


@pytest.mark.parametrize(
    ("product", "name"),
    [
        (nn.Bilinear(4, 4, 3), "bilinear"),
        (lambda x, y: paddle.baddbmm(x.unsqueeze(0), x.unsqueeze(0), y.unsqueeze(0)), "baddbmm"),
        (lambda x, y: paddle.addmm(x, x, y), "addmm"),
        (lambda x, y: paddle.linalg.multi_dot([x, y, x]), "multi_dot"),
        (lambda x, y: paddle.linalg.matrix_power(x, 3), "matrix_power"),
        (lambda x, y: paddle.dot(x[0], y[0]), "dot"),
        (lambda x, y: paddle.einsum("ij,jk->ik", x, y), "einsum"),
    ],
)
def test_other_products_are_an_error_not_nothing(product, name):
    class Product(nn.Layer):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            return product(self.linear(x), x)

    with pytest.raises(InputError, match=f"count_macs does not know pd_op.{name}, .* own"):
        count_macs(Product(), InputSpec([4, 4], "float32"))


@pytest.mark.parametrize(
    ("budget", "measure"),
    [
        (lambda limit, at: within_params(limit, at), mixed_params),
        (lambda limit, at: within_macs(limit, at, InputSpec([1, 3, 8, 8])), mixed_macs),
    ],
)
def test_the_widest_network_within_a_budget(budget, measure):
    space = {"conv": {"channel": [2, 4, 6, 8, 10]}}

    def network_at(config):
        return Mixed(config["conv"]["channel"])

    def width(config):
        return config["conv"]["channel"]

    for limit, best in [(measure(6), 6), (measure(6) - 1, 4)]:
        assert evolutionary_search(space, width, budget(limit, network_at))[0] == {
            "conv": {"channel": best}
        }
    with pytest.raises(InputError, match=f"the closest has {measure(2):g}; raise the limit to it"):
        evolutionary_search(space, width, budget(measure(2) - 1, network_at))


def test_latency_runs_the_network_as_often_as_asked_in_eval_mode():
    calls = []

    class Watched(nn.Layer):
        def forward(self, x, *, flag):
            calls.append((self.training, list(x.shape), flag))
            return x

    model = Watched()
    model.train()
    inputs = {"x": InputSpec([2, 3], "float32"), "flag": 7}
    assert measure_latency_ms(model, inputs, runs=4, warmup=2) > 0
    assert calls == [(False, [2, 3], 7)] * 6
    assert model.training


def test_a_latency_budget_asks_for_the_time_of_each_network():
    budget = within_latency(1e9, lambda config: nn.Linear(2, 2), paddle.ones([1, 2]), runs=1)
    assert budget({})
    assert not within_latency(0.0, lambda config: nn.Linear(2, 2), paddle.ones([1, 2]), runs=1)({})
    assert str(budget) == "at most 1e+09 milliseconds"


class Converted(nn.Layer):
    """Two free convolutions, and two whose widths a residual ties."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2D(1, 4, 1)
        self.inner, self.last = nn.Conv2D(4, 8, 3, padding=1), nn.Conv2D(8, 4, 1)
        self.out = nn.Conv2D(4, 2, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.out(x + self.last(nn.functional.relu(self.inner(x))))


def test_a_converted_network_is_searched_within_its_macs():
    """Every configuration's cost by hand; the best one by enumeration."""
    ofa = OFA(Convert(supernet(expand_ratio=[0.25, 0.5, 1.0])).convert(Converted()))
    image = InputSpec([1, 1, 5, 5], "float32")
    ofa.trace(image)
    assert set(ofa.ofa_layers) == {"stem", "inner"}

    def macs(stem, inner):  # stem and last have stem * 4 channels, inner has inner * 8
        return 25 * (4 * stem + 4 * stem * 9 * 8 * inner + 8 * inner * 4 * stem + 4 * stem * 2)

    def wide(stem, inner):
        return stem + 3 * inner

    ratios = list(itertools.product([0.25, 0.5, 1.0], repeat=2))
    budget = within_macs(3000, lambda c: ofa.export(c, [[1, 1, 5, 5]], ["float32"]), image)
    for stem, inner in ratios:
        config = {"stem": {"expand_ratio": stem}, "inner": {"expand_ratio": inner}}
        assert budget.measure(config) == macs(stem, inner)
    best = max((pair for pair in ratios if macs(*pair) <= 3000), key=lambda pair: wide(*pair))

    def score(ofa, config):
        return wide(config["stem"]["expand_ratio"], config["inner"]["expand_ratio"])

    config, found = ofa.search(score, budget)
    assert found == wide(*best)
    assert (config["stem"]["expand_ratio"], config["inner"]["expand_ratio"]) == best
    assert config["last"] == config["stem"]
