"""How far training is, as a value: what is counted and what was said."""

from __future__ import annotations

import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import RunConfig
from ofa_bert.ofa.progress import Progress, task_order
from ofa_bert.ofa.schedule import Stage

FREE = {"conv": {"kernel_size": [3, 5], "expand_ratio": [0.5, 1.0]}}
ORDER = ["kernel_size", "width"]
# 5 images by 2 are 3 batches an epoch, of one forward each for kernels and two for widths.
RUN = RunConfig(n_epochs=[[1], [2]], total_images=5, train_batch_size=2, dynamic_batch_size=[1, 2])


def counted(progress, run, order, forwards):
    """Give ``(batches, forwards of the one under way)`` after each forward."""
    counts = []
    for _ in range(forwards):
        progress = progress.after_forward(run, order)
        counts.append((progress.batches, progress.forwards))
    return counts


def test_forwards_make_batches_as_the_newest_task_says():
    found = counted(Progress(), RUN, ORDER, 7)
    assert found == [(1, 0), (2, 0), (3, 0), (3, 1), (4, 0), (4, 1), (5, 0)]


def test_a_forward_is_a_batch_where_no_epoch_is_known():
    assert counted(Progress(), RunConfig(dynamic_batch_size=[3]), ["width"], 2) == [(1, 0), (2, 0)]


def test_a_task_by_hand_that_the_schedule_never_opens_counts_as_its_first():
    progress = Progress().at_epoch(0).at_task("kernel_size", None, FREE)
    assert counted(progress, RunConfig(dynamic_batch_size=[2]), ["width"], 2) == [(0, 1), (1, 0)]


def test_a_task_by_hand_goes_before_the_epoch_and_leaves_it():
    said = Progress(batches=2).at_epoch(1)
    by_hand = said.at_task("kernel_size", 0, FREE)
    assert by_hand.stage_now(RUN, ORDER) == Stage(("kernel_size",), 0)
    assert by_hand.at_task(None, None, FREE) == said
    assert said.stage_now(RUN, ORDER) == Stage(("kernel_size", "width"), 0)
    assert Progress(batches=2).stage_now(RUN, ORDER) == Stage(("kernel_size",), 0)


def test_the_order_is_the_one_asked_for():
    assert task_order(None, FREE, RunConfig()) == ["kernel_size", "width"]
    assert task_order(["width", "kernel_size"], FREE, RUN) == ["width", "kernel_size"]
    assert task_order([], FREE, RunConfig()) == []
    with pytest.raises(
        InputError, match=r"dynamic_batch_size must .* of \['width'\]; got \[1, 2\]"
    ):
        task_order(["width"], FREE, RunConfig(dynamic_batch_size=[1, 2]))
