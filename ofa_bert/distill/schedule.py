"""Which of the sub-networks a step trains, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ofa_bert.config import random_count


def chosen(schedule: str, count: int, seed: int, step: int) -> list[int]:
    """Choose the sub-networks of one step, the same in every process.

    Args:
        schedule: ``all``; ``sandwich``: the widest, the narrowest and one of the others
            (arXiv:1903.05134 §3.1, which draws two); ``random-K``: K of them.
        count: how many there are.
        seed: of the run.
        step: of the optimizer, from 1.

    Returns:
        Their places in order of width, widest (0) first.
    """
    if schedule == "all":
        return list(range(count))
    generator = np.random.default_rng([seed, step])
    if schedule == "sandwich":
        between = [int(generator.integers(1, count - 1))] if count > 2 else []
        return sorted({0, *between, count - 1})
    drawn = generator.choice(count, random_count(schedule), replace=False)
    return sorted(int(i) for i in drawn)


def cost_share(schedule: str, macs: Sequence[int], teacher_macs: int) -> float:
    """Give the expected matrix products of a step over those of a step of all sub-networks.

    A forward and its backward are three times a forward; the teacher has one forward in every step.

    Args:
        schedule: as in ``chosen``.
        macs: multiply-accumulates of a forward of each sub-network, widest first.
        teacher_macs: likewise of the teacher; 0 where its answers are looked up.
    """
    total = sum(macs)
    expected = float(total)
    if schedule == "sandwich" and len(macs) > 2:
        expected = macs[0] + macs[-1] + sum(macs[1:-1]) / (len(macs) - 2)
    elif schedule.startswith("random"):
        expected = total * random_count(schedule) / len(macs)
    return (teacher_macs + 3 * expected) / (teacher_macs + 3 * total)
