from __future__ import annotations

import itertools

import numpy as np
import pytest

from ofa_bert.errors import InputError

import paddle  # isort: skip
from paddle import nn
from paddle.static import InputSpec

from ofa_bert.ofa.budget import (
    Budget,
    count_macs,
    count_params,
    measure_latency_ms,
    within_latency,
    within_macs,
    within_params,
)
from ofa_bert.ofa.convert_super import Convert, supernet
from ofa_bert.ofa.ofa import OFA
from ofa_bert.ofa.search import evolutionary_search

SMALL = {
    "a": {"expand_ratio": [0.25, 0.5, 1.0], "kernel_size": [3, 5]},
    "b": {"channel": [4, 8, 12, 16]},
    "c": {"expand_ratio": [0.5, 0.75, 1.0]},
    "d": {"expand_ratio": [0.5, 0.75, 1.0]},
    "depth": [1, 2, 3],
}


def flat(config):
    return tuple(
        value
        for part in config.values()
        for value in (part.values() if isinstance(part, dict) else [part])
    )


def all_configs(space):
    keys, lists = [], []
    for name, kinds in space.items():
        for kind, values in kinds.items() if isinstance(kinds, dict) else [(None, kinds)]:
            keys.append((name, kind))
            lists.append(values)
    for values in itertools.product(*lists):
        config = {}
        for (name, kind), value in zip(keys, values, strict=True):
            if kind is None:
                config[name] = value
            else:
                config.setdefault(name, {})[kind] = value
        yield config


def rough(config):
    """A score with a trade between choices: no choice is best on its own."""
    a, k, b, c, d, depth = flat(config)
    return np.sin(7 * a * k) + np.cos(b * c) - (d - 0.75 * c) ** 2 + 0.3 * depth * np.sin(b)


def cost(config):
    a, k, b, c, d, depth = flat(config)
    return a * k * k + b * c + b * d + 4 * depth


class Recorder:
    """A score that remembers what it was asked."""

    def __init__(self, score):
        self.score, self.asked = score, []

    def __call__(self, config):
        self.asked.append(flat(config))
        return self.score(config)


@pytest.mark.parametrize("limit", [None, 35.0, 18.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_best_of_a_small_space_is_found(limit, seed):
    """216 * 3 configurations; all of them scored here, 272 at most by the search."""
    condition = None if limit is None else lambda config: cost(config) <= limit
    allowed = [c for c in all_configs(SMALL) if condition is None or condition(c)]
    best = max(allowed, key=rough)
    asked = Recorder(rough)
    config, score = evolutionary_search(SMALL, asked, condition, seed=seed)
    assert score == pytest.approx(rough(best))
    assert config == best
    assert len(asked.asked) == len(set(asked.asked)) <= 272
    assert set(asked.asked) <= {flat(c) for c in allowed}


def test_a_space_no_larger_than_the_search_is_scored_as_a_whole():
    space = {"a": {"expand_ratio": [0.5, 1.0]}, "depth": [2, 1]}
    asked = Recorder(lambda config: -config["depth"] * config["a"]["expand_ratio"])
    assert evolutionary_search(space, asked) == ({"a": {"expand_ratio": 0.5}, "depth": 1}, -0.5)
    assert sorted(asked.asked) == [(0.5, 1), (0.5, 2), (1.0, 1), (1.0, 2)]
    assert evolutionary_search({}, lambda config: 3.0) == ({}, 3.0)


WIDTHS = [0.2, 0.4, 0.6, 0.8, 1.0]
BIG = {f"layer{i}": {"expand_ratio": WIDTHS} for i in range(30)}
TARGETS = np.random.default_rng(9).choice(WIDTHS, 30)


def separable(config):
    """The best of 5 ** 30 scores 30; each layer has a width of its own that is best."""
    return 30 - float(np.abs(np.array(flat(config)) - TARGETS).sum())


@pytest.mark.parametrize("seed", range(8))
def test_it_beats_random_search_with_ten_times_as_many_scores(seed):
    asked = Recorder(separable)
    _, found = evolutionary_search(BIG, asked, seed=seed)
    assert len(asked.asked) == len(set(asked.asked)) == 32 + 10 * 24
    draws = np.random.default_rng(seed).choice(WIDTHS, (10 * len(asked.asked), 30))
    assert found > (30 - np.abs(draws - TARGETS).sum(1)).max()


def test_the_seed_decides_all():
    runs = []
    for seed in (3, 3, 4):
        asked = Recorder(separable)
        runs.append((evolutionary_search(BIG, asked, seed=seed, generations=3), asked.asked))
    assert runs[0] == runs[1]
    assert runs[0][1] != runs[2][1]


def test_options_set_the_number_of_scores():
    asked = Recorder(separable)
    evolutionary_search(BIG, asked, population=10, generations=4, parent_ratio=0.2)
    assert len(asked.asked) == 10 + 4 * 8


def test_a_narrow_condition_is_met_from_the_smallest_on():
    """Widths add up to at least 6; at most 6.61 is three steps up, 5,000 of 5 ** 30."""
    budget = Budget(lambda config: sum(flat(config)), 30 * 0.2 + 0.61, "widths")
    config, score = evolutionary_search(BIG, separable, budget)
    assert sum(flat(config)) <= 6.61
    assert score > separable({"all": dict.fromkeys(range(30), 0.2)})


def test_a_condition_that_nothing_meets_says_what_came_closest():
    budget = Budget(lambda config: 100 * sum(flat(config)), 500.0, "MACs")
    with pytest.raises(
        InputError,
        match=r"none of \d+ sub-networks tried has at most 500 MACs; the closest has 600; raise",
    ):
        evolutionary_search(BIG, separable, budget)
    with pytest.raises(InputError, match=r"none of 648 sub-networks tried meets the condition; "):
        evolutionary_search(SMALL, rough, lambda config: False, generations=30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"space": {"a": {"expand_ratio": []}}}, r"a expand_ratio is \[\]; type e.g. \[0.5, 1.0\]"),
        ({"space": {"depth": 2}}, r"must list the values of each choice; depth is 2; type"),
        ({"population": 1}, "population must be at least 2; got 1"),
        ({"generations": -1}, "generations must be at least 0; got -1"),
        ({"parent_ratio": 1.5}, "parent_ratio must be 0 to 1; got 1.5"),
        ({"evaluate": lambda config: float("nan")}, "a score must be a number; got nan at {'a'"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    given = {"space": SMALL, "evaluate": rough, **arguments}
    with pytest.raises(InputError, match=message):
        evolutionary_search(given.pop("space"), given.pop("evaluate"), **given)


def test_configurations_do_not_alias_each_other():
    seen = []

    def evaluate(config):
        seen.append(config)
        config["a"]["kernel_size"] = 99
        return 0.0

    config, _ = evolutionary_search(SMALL, evaluate)
    assert config["a"]["kernel_size"] in (3, 5)
    assert len({id(one["a"]) for one in seen}) == len(seen)


# Costs


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
