from collections import Counter

import numpy as np
import pytest

from ofa_bert.config import SupernetConfig
from ofa_bert.distill.schedule import chosen, cost_share
from ofa_bert.distill.student import width_student
from ofa_bert.errors import InputError
from ofa_bert.subnet import resolve_widths
from tests.tiny import tiny_config, tiny_model

STEPS = 3000


def shares(schedule, count):
    """In what share of the steps each sub-network is trained."""
    found = Counter(i for step in range(STEPS) for i in chosen(schedule, count, 7, step))
    return [found[i] / STEPS for i in range(count)]


@pytest.mark.parametrize(
    ("schedule", "count", "expected"),
    [
        ("all", 4, [1, 1, 1, 1]),
        ("sandwich", 4, [1, 1 / 2, 1 / 2, 1]),
        ("sandwich", 5, [1, 1 / 3, 1 / 3, 1 / 3, 1]),
        ("sandwich", 2, [1, 1]),
        ("sandwich", 1, [1]),
        ("random-1", 4, [1 / 4] * 4),
        ("random-3", 4, [3 / 4] * 4),
        ("random-4", 4, [1] * 4),
    ],
)
def test_each_sub_network_is_trained_as_often_as_promised(schedule, count, expected):
    # Five standard errors of a share of 3,000 draws; seeds are fixed.
    assert shares(schedule, count) == pytest.approx(expected, abs=5 * 0.5 / np.sqrt(STEPS))


def test_the_choice_depends_on_seed_and_step_alone_and_is_widest_first():
    picks = [chosen("random-2", 5, 1, step) for step in range(50)]
    assert picks == [chosen("random-2", 5, 1, step) for step in range(50)]
    assert picks != [chosen("random-2", 5, 2, step) for step in range(50)]
    assert all(pick == sorted(set(pick)) and len(pick) == 2 for pick in picks)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    # Teacher 8; all: 8 + 3 * (8 + 6 + 4 + 2) = 68.
    [
        ("all", 1.0),
        ("sandwich", (8 + 3 * (8 + 5 + 2)) / 68),
        ("random-1", (8 + 3 * 5) / 68),
        ("random-2", (8 + 3 * 10) / 68),
    ],
)
def test_expected_cost_by_hand(schedule, expected):
    assert cost_share(schedule, [8, 6, 4, 2]) == pytest.approx(expected)


def test_a_student_trains_what_the_schedule_chooses():
    model = tiny_model(tiny_config())
    widths = resolve_widths(model.config, (1.0, 0.75, 0.5))
    student = width_student(model, widths, "sandwich", seed=3)
    names = ["width_1.0", "width_0.75", "width_0.5"]
    for step in range(1, 20):
        places = chosen("sandwich", 3, 3, step)
        assert list(student.subnets(step)) == [names[place] for place in places]


@pytest.mark.parametrize("schedule", ["random", "random-0", "random-5", "random-x", "sand", ""])
def test_a_schedule_that_cannot_be_is_refused(schedule):
    expected = f"all, sandwich or random-K with K from 1 to 4, .*; got '{schedule}'"
    with pytest.raises(InputError, match=expected):
        SupernetConfig(schedule=schedule)
    model = tiny_model(tiny_config())
    widths = resolve_widths(model.config, (1.0, 0.75, 0.5, 0.25))
    with pytest.raises(InputError, match=expected):
        width_student(model, widths, schedule)
