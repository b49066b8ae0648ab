"""The search finds the best of what a condition allows, within its number of scores."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa.budget import Budget
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
