"""Progressive shrinking: what is open at which epoch."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Convert, RunConfig, supernet
from ofa_bert.ofa.schedule import Stage, draw, extreme, open_choices, search_idx, stage_at, tasks_of
from tests.ofa.values import draw as numbers
from tests.tiny import paddle

nn = paddle.nn
FREE = {
    "conv": {"kernel_size": [3, 5, 7], "expand_ratio": [0.25, 0.5, 1.0]},
    "linear": {"channel": [2, 4, 8]},
    "depth": [1, 2, 3],
}


def test_an_epoch_belongs_to_the_first_phase_that_ends_after_it():
    ends = [[1], [2, 3], [4, 5]]
    assert [search_idx(epoch, ends) for epoch in range(7)] == [
        (0, 0),
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
        (2, 1),
        (2, 1),
    ]


def test_the_order_is_kernel_depth_width():
    assert tasks_of(FREE) == ("kernel_size", "depth", "width")
    assert tasks_of({"conv": {"expand_ratio": [1.0]}}) == ("width",)
    order = ("kernel_size", "depth", "width")
    assert stage_at(1, order, [[1], [2, 3], [5]]) == Stage(("kernel_size", "depth"), 0)
    assert stage_at(1, order, None) == Stage(order, None)


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (Stage(()), ([7], [1.0], [8], [3])),
        (Stage(("kernel_size",), 0), ([5, 7], [1.0], [8], [3])),
        (Stage(("kernel_size",), 1), ([3, 5, 7], [1.0], [8], [3])),
        (Stage(("kernel_size", "depth"), 0), ([3, 5, 7], [1.0], [8], [2, 3])),
        (Stage(("kernel_size", "width"), 0), ([3, 5, 7], [0.5, 1.0], [4, 8], [3])),
        (Stage(("width",)), ([7], [0.25, 0.5, 1.0], [2, 4, 8], [3])),
        (Stage(("width",), 9), ([7], [0.25, 0.5, 1.0], [2, 4, 8], [3])),
    ],
)
def test_a_phase_opens_the_largest_values_of_its_task(stage, expected):
    opened = open_choices(FREE, stage)
    found = opened["conv"]["kernel_size"], opened["conv"]["expand_ratio"]
    assert (*found, opened["linear"]["channel"], opened["depth"]) == expected


def test_every_open_choice_is_drawn_alike():
    generator = np.random.default_rng(0)
    stage = Stage(("kernel_size", "depth", "width"))
    drawn = [draw(open_choices(FREE, stage), generator) for _ in range(3000)]
    for values in (
        [c["conv"]["kernel_size"] for c in drawn],
        [c["conv"]["expand_ratio"] for c in drawn],
        [c["linear"]["channel"] for c in drawn],
        [c["depth"] for c in drawn],
    ):
        counts = np.unique(values, return_counts=True)[1]
        assert len(counts) == 3
        assert abs(counts - 1000).max() < 100  # four standard deviations are 103
    assert extreme(FREE, largest=True)["conv"] == {"kernel_size": 7, "expand_ratio": 1.0}
    assert extreme(FREE, largest=False)["linear"] == {"channel": 2}


class Net(nn.Layer):
    def __init__(self):
        super().__init__()
        self.convs = nn.LayerList([nn.Conv2D(2, 2, 3, padding=1) for _ in range(3)])
        self.head = nn.Conv2D(2, 2, 1)

    def forward(self, x, depth=None):
        for conv in self.convs[:depth]:
            x = conv(x)
        return self.head(x)


X = paddle.to_tensor(numbers(1, 2, 4, 4))


def ofa_of(**settings):
    model = Convert(supernet(kernel_size=(3, 5), expand_ratio=(0.5, 1.0))).convert(Net())
    run = RunConfig(same_search_space=[], elastic_depth=(1, 2, 3), **settings)
    return OFA(model, run)


def seen(ofa, forwards=40):
    """Give what a number of forwards drew: kernels, widths, depths."""
    kernels, widths, depths = set(), set(), set()
    for _ in range(forwards):
        ofa(X)
        config = ofa.get_current_config
        depths.add(config.pop("depth"))
        kernels |= {c["kernel_size"] for c in config.values() if "kernel_size" in c}
        widths |= {c["expand_ratio"] for c in config.values() if "expand_ratio" in c}
    return kernels, widths, depths


def test_a_network_is_shrunk_epoch_by_epoch():
    ofa = ofa_of(n_epochs=[[1], [2, 3], [4]])
    for epoch, expected in enumerate(
        [
            ({3, 5}, {1.0}, {3}),
            ({3, 5}, {1.0}, {2, 3}),
            ({3, 5}, {1.0}, {1, 2, 3}),
            ({3, 5}, {0.5, 1.0}, {1, 2, 3}),
        ]
    ):
        ofa.set_epoch(epoch)
        assert seen(ofa) == expected, epoch
    assert ofa.task == ["kernel_size", "depth", "width"]


def test_another_order():
    model = Convert(supernet(kernel_size=(3, 5), expand_ratio=(0.5, 1.0))).convert(Net())
    run = RunConfig(same_search_space=[], elastic_depth=(1, 3), n_epochs=[[1], [2], [3]])
    ofa = OFA(model, run, elastic_order=["kernel_size", "width", "depth"])
    ofa.set_epoch(1)
    assert seen(ofa) == ({3, 5}, {0.5, 1.0}, {3})


def test_without_epochs_everything_is_open():
    assert seen(ofa_of()) == ({3, 5}, {0.5, 1.0}, {1, 2, 3})


def test_batches_are_counted_where_no_epoch_is_set():
    # Two batches an epoch of 3 images (the last is smaller); two forwards for each batch.
    ofa = ofa_of(
        n_epochs=[[1], [2], [3]],
        total_images=3,
        train_batch_size=2,
        dynamic_batch_size=[1, 2, 2],
    )
    tasks = []
    for _ in range(12):
        tasks.append(len(ofa.task))
        ofa(X)
    assert tasks == [1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]
    ofa = ofa_of(n_epochs=[[1], [2], [3]], total_images=2, train_batch_size=2)
    ofa.eval()
    ofa(X)
    assert len(ofa.task) == 1
    ofa.train()
    ofa(X)
    assert len(ofa.task) == 2
    ofa.set_epoch(0)
    assert len(ofa.task) == 1


def test_the_schedule_must_know_the_epoch():
    ofa = ofa_of(n_epochs=[[1], [2], [3]], dynamic_batch_size=[1, 1, 1])
    ofa.set_net_config({"depth": 1})
    assert ofa(X).shape == [1, 2, 4, 4]
    ofa.set_net_config(None)
    with pytest.raises(InputError, match="call set_epoch, or give RunConfig train_batch_size"):
        ofa(X)


@pytest.mark.parametrize(
    ("task", "phase", "expected"),
    [
        ("width", None, ({5}, {0.5, 1.0}, {3})),
        ("expand_ratio", None, ({5}, {0.5, 1.0}, {3})),
        ("depth", 0, ({5}, {1.0}, {2, 3})),
        (["kernel_size", "depth"], 0, ({3, 5}, {1.0}, {2, 3})),
        (["kernel_size", "width", "depth"], None, ({3, 5}, {0.5, 1.0}, {1, 2, 3})),
    ],
)
def test_a_task_set_by_hand(task, phase, expected):
    ofa = ofa_of(n_epochs=[[1], [2], [3]])
    ofa.set_task(task, phase)
    assert seen(ofa) == expected
    ofa.set_task(None)
    ofa.set_epoch(0)
    assert seen(ofa) == ({3, 5}, {1.0}, {3})


def test_the_largest_and_the_smallest_for_a_sandwich():
    ofa = ofa_of(n_epochs=[[1], [2], [3]])
    ofa.set_epoch(0)
    before = ofa.get_current_config
    assert ofa.sample_config("smallest") == {
        **{f"convs.{i}": {"kernel_size": 3, "expand_ratio": 1.0} for i in range(3)},
        "depth": 3,
    }
    ofa.set_epoch(2)
    smallest = ofa.sample_config("smallest")
    assert smallest["convs.1"] == {"kernel_size": 3, "expand_ratio": 0.5}
    assert smallest["depth"] == 1
    assert ofa.sample_config("largest")["convs.1"] == {"kernel_size": 5, "expand_ratio": 1.0}
    assert len({str(ofa.sample_config()) for _ in range(20)}) > 5
    assert ofa.get_current_config == before
    with pytest.raises(InputError, match="random, largest or smallest; got 'tiny'"):
        ofa.sample_config("tiny")
