from collections import Counter

import numpy as np
import pytest

from ofa_bert.config import SupernetConfig
from ofa_bert.distill.schedule import chosen, cost_share
from ofa_bert.distill.student import width_student
from ofa_bert.errors import InputError
from ofa_bert.importance import Importance
from ofa_bert.results import format_schedule
from ofa_bert.subnet import resolve_widths
from ofa_bert.supernet import make_supernet
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
    ("schedule", "teacher_macs", "expected"),
    # Teacher 7; all: 7 + 3 * (8 + 6 + 4 + 2) = 67. Not asked: 20 of sub-networks alone.
    [
        ("all", 7, 1.0),
        ("sandwich", 7, (7 + 3 * (8 + 5 + 2)) / 67),
        ("random-1", 7, (7 + 3 * 5) / 67),
        ("random-2", 7, (7 + 3 * 10) / 67),
        ("all", 0, 1.0),
        ("sandwich", 0, (8 + 5 + 2) / 20),
        ("random-1", 0, 5 / 20),
    ],
)
def test_expected_cost_by_hand(schedule, teacher_macs, expected):
    assert cost_share(schedule, [8, 6, 4, 2], teacher_macs) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("cache", "share"),
    # Of the teacher's and width 1.0's products width 1/2 has half: (2 + 3 * 1.5) / (2 + 3 * 3).
    [("none", "0.59"), ("logits", "0.50"), ("memory", "0.50"), ("disk", "0.50")],
)
def test_a_teacher_whose_answers_are_kept_costs_a_step_nothing(cache, share):
    config = tiny_config(num_heads=4, num_neurons=24)
    importance = Importance(heads=(np.arange(4.0),) * 2, neurons=(np.arange(24.0),) * 2)
    supernet = make_supernet(tiny_model(config), importance, (1.0, 0.5))
    said = format_schedule(supernet, "random-1", cache)
    assert said == f"random-1, {share} of the matrix products of all widths"


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
