"""Evolutionary search for the best sub-network, under a condition."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ofa_bert.errors import InputError
from ofa_bert.ofa.budget import Budget
from ofa_bert.rules import require

Config = dict[str, Any]
"""``{layer: {"expand_ratio": 0.5, "kernel_size": 3}, "depth": 2}``: one value for each choice."""
Space = Mapping[str, Any]
"""``{layer: {"expand_ratio": [0.5, 1.0], ...}, "depth": [2, 3]}``: the values to choose from."""
Genome = tuple[int, ...]
"""Which value of each choice, by its place in the list."""
TRIES = 200
"""Draws in a row that bring nothing new before another way of drawing is tried."""


def evolutionary_search(
    space: Space,
    evaluate: Callable[[Config], float],
    condition: Callable[[Config], bool] | None = None,
    *,
    seed: int = 0,
    population: int = 32,
    generations: int = 10,
    parent_ratio: float = 0.25,
    mutation_ratio: float = 0.5,
    mutate_probability: float = 0.1,
) -> tuple[Config, float]:
    """Find the configuration with the highest score among those that meet a condition.

    The first generation is drawn at random, with the smallest and the largest configuration among
    it. Of each generation the best are parents; children are parents with some choices drawn anew,
    or two parents mixed choice by choice (Once-for-All, arXiv:1908.09791 §3.4; shares as in its
    code). Its 100 members and 500 generations are for a predictor of accuracy. Here every score is
    a network run, so the defaults score 32 + 10 * 24 = 272 networks: about four for each single
    change in a space of 37 widths with 3 choices, ResNet50's. A space with no more configurations
    than that is scored as a whole.

    Args:
        space: choices by layer name and kind, and ``depth``.
        evaluate: gives the score of a configuration, larger is better. Asked once for each.
        condition: which configurations may be scored: a function, or a ``Budget``; None: all.
            Asked once for each.
        seed: of the draws; the same seed gives the same search.
        population: members of a generation.
        generations: generations after the first.
        parent_ratio: fraction of a generation that has children.
        mutation_ratio: fraction of the children that come from one parent.
        mutate_probability: of each choice to be drawn anew in them; one choice at least is.

    Returns:
        The configuration and its score. The first of equals.

    Raises:
        InputError: if the space or an option is not as above, or no configuration that was tried
            meets the condition.
    """
    ratios = {
        "parent_ratio": parent_ratio,
        "mutation_ratio": mutation_ratio,
        "mutate_probability": mutate_probability,
    }
    for name, ratio in ratios.items():
        require(0 <= ratio <= 1, f"{name} must be 0 to 1; got {ratio}")
    require(population >= 2, f"population must be at least 2; got {population}")
    require(generations >= 0, f"generations must be at least 0; got {generations}")
    trial = _Trial(_choices(space), evaluate, condition)
    num_parents = max(1, round(population * parent_ratio))
    num_children = population - num_parents
    sizes = [len(choice.values) for choice in trial.choices]
    if math.prod(sizes) <= population + generations * num_children:
        for genome in itertools.product(*map(range, sizes)):
            trial.score(genome)
        return trial.best()

    draws = _Draws(sizes, np.random.default_rng(seed), mutate_probability)
    _first_generation(trial, draws, population)
    for _ in range(generations):
        parents, before = trial.ranking()[:num_parents], len(trial.scores)
        trial.grow(partial(draws.mutant, parents), before + round(num_children * mutation_ratio))
        trial.grow(partial(draws.mixture, parents), before + num_children)
        trial.grow(draws.random, before + num_children)
    return trial.best()


def _first_generation(trial: _Trial, draws: _Draws, population: int) -> None:
    """Score random members; under a narrow condition, neighbours of those that meet it."""
    trial.score(tuple(choice.smallest for choice in trial.choices))
    trial.score(tuple(choice.largest for choice in trial.choices))
    trial.grow(draws.random, population)
    if not trial.scores:
        raise InputError(trial.nothing_found())
    trial.grow(lambda: draws.mutant(trial.ranking()), population)


@dataclass(frozen=True)
class _Choice:
    """One value to choose: of a layer's kind, or of the depth, where ``layer`` is None."""

    layer: str | None
    kind: str
    values: Sequence[Any]

    @property
    def smallest(self) -> int:
        return min(range(len(self.values)), key=lambda i: self.values[i])

    @property
    def largest(self) -> int:
        return max(range(len(self.values)), key=lambda i: self.values[i])


def _choices(space: Space) -> list[_Choice]:
    choices = []
    for name, kinds in space.items():
        if isinstance(kinds, Mapping):
            choices += [_Choice(name, kind, values) for kind, values in kinds.items()]
        else:
            choices.append(_Choice(None, name, kinds))
    for choice in choices:
        if not isinstance(choice.values, list | tuple) or not choice.values:
            where = " ".join(filter(None, [choice.layer, choice.kind]))
            raise InputError(
                f"the search space must list the values of each choice; {where} is "
                f"{choice.values!r}; type e.g. [0.5, 1.0]"
            )
    return choices


@dataclass
class _Trial:
    """What was asked so far."""

    choices: list[_Choice]
    evaluate: Callable[[Config], float]
    condition: Callable[[Config], bool] | None
    scores: dict[Genome, float] = field(default_factory=dict)
    allowed: dict[Genome, bool] = field(default_factory=dict)

    def config(self, genome: Genome) -> Config:
        """Write a genome as a configuration, new each time."""
        config: Config = {}
        for choice, place in zip(self.choices, genome, strict=True):
            if choice.layer is None:
                config[choice.kind] = choice.values[place]
            else:
                config.setdefault(choice.layer, {})[choice.kind] = choice.values[place]
        return config

    def score(self, genome: Genome) -> bool:
        """Score a genome that is new and meets the condition; tell whether it was."""
        if genome in self.allowed:
            return False
        condition = self.condition
        self.allowed[genome] = condition is None or bool(condition(self.config(genome)))
        if self.allowed[genome]:
            score = float(self.evaluate(self.config(genome)))
            if math.isnan(score):
                raise InputError(
                    f"a score must be a number; got nan at {self.config(genome)}; "
                    "return a low number for a sub-network that fails"
                )
            self.scores[genome] = score
        return self.allowed[genome]

    def grow(self, draw: Callable[[], Genome], count: int) -> None:
        """Score what ``draw`` gives until ``count`` are scored or nothing new comes."""
        misses = 0
        while len(self.scores) < count and misses < TRIES:
            misses = 0 if self.score(draw()) else misses + 1

    def ranking(self) -> list[Genome]:
        """Give all that were scored, best first, of equals the earlier."""
        return sorted(self.scores, key=lambda genome: -self.scores[genome])

    def best(self) -> tuple[Config, float]:
        """Give the best configuration and its score."""
        if not self.scores:
            raise InputError(self.nothing_found())
        genome = self.ranking()[0]
        return self.config(genome), self.scores[genome]

    def nothing_found(self) -> str:
        """Say that nothing meets the condition, and by how much."""
        tried = f"none of {len(self.allowed)} sub-networks tried"
        if not isinstance(self.condition, Budget):
            return f"{tried} meets the condition; the condition must hold for some of them"
        smallest = min(self.condition.measure(self.config(genome)) for genome in self.allowed)
        return f"{tried} has {self.condition}; the closest has {smallest:g}; raise the limit to it"


@dataclass
class _Draws:
    """Random genomes."""

    sizes: list[int]
    rng: np.random.Generator
    mutate_probability: float

    def random(self) -> Genome:
        return tuple(int(self.rng.integers(size)) for size in self.sizes)

    def mutant(self, parents: list[Genome]) -> Genome:
        """Draw some choices of a parent anew, one at least."""
        parent = self._one_of(parents)
        change = self.rng.random(len(parent)) < self.mutate_probability
        change[self.rng.integers(len(parent))] = True
        return tuple(
            new if c else old for c, new, old in zip(change, self.random(), parent, strict=True)
        )

    def mixture(self, parents: list[Genome]) -> Genome:
        """Take each choice from one of two parents."""
        one, two = self._one_of(parents), self._one_of(parents)
        first = self.rng.random(len(one)) < 0.5
        return tuple(a if f else b for f, a, b in zip(first, one, two, strict=True))

    def _one_of(self, genomes: list[Genome]) -> Genome:
        return genomes[int(self.rng.integers(len(genomes)))]
