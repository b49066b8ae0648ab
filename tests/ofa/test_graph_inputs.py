"""Which widths are one: inputs and networks of which that cannot be read."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa.graph import WidthGroups, width_groups
from tests.ofa.graphs import IMAGE, Net, conv, groups_of
from tests.tiny import paddle

InputSpec = paddle.static.InputSpec


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": object()}, r"inputs\['x'\] must be a tensor, .* got object; type paddle.static.Inp"),
        ([IMAGE, [np.array(["a"])]], r"inputs\[1\]\[0\] must be a tensor, .* got ndarray; type"),
        (
            InputSpec([None, 3, 8, 8]),
            r"inputs must have a known shape; got \[-1, 3, 8, 8\]; type .* e.g. \[2, 3, 8, 8\]",
        ),
    ],
)
def test_inputs_that_cannot_be_built_are_named(inputs, message):
    with pytest.raises(InputError, match=message):
        groups_of(lambda net, x: x, inputs)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (lambda net, x: x.reshape([5]), r"ValueError: \(InvalidArgument\) The 'shape' in Reshape"),
        (lambda net, x: x if x.mean() > 0 else -x, r"TypeError: bool\(Tensor\) is not supported"),
        (lambda net, x: paddle.to_tensor(x.numpy()), "AssertionError: 'numpy' only can be called"),
        (lambda net, x: x["image"], ""),
        (lambda net, x, y: x, r"TypeError: .* missing 1 required positional argument: 'y'"),
    ],
)
def test_a_network_that_cannot_be_traced_says_on_what(run, said):
    with pytest.raises(InputError) as error:
        groups_of(run, paddle.ones([2, 3]))
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith("Net could not be traced on inputs float32 [2, 3]: ")
    assert message.endswith("share a width: RunConfig(same_search_space=[...])")
    assert re.search(said, message)
    assert paddle.in_dynamic_mode()


def test_arguments_by_name_are_handed_over_as_they_are():
    """None too, and those of ``*args`` and ``**kwargs``, whatever they are called."""
    seen = []

    def run(net, *args, inputs=None, mask, **settings):
        seen.append((len(args), inputs is None, mask, sorted(settings), settings["model"].shape))
        return net.b(net.a(args[0]) * settings["model"])

    layers = {"a": conv(3, 4), "b": conv(4, 2)}
    spec = InputSpec([2, 4, 1, 1], "float32")
    found = width_groups(Net(run, **layers), (IMAGE, 3), {"mask": None, "model": spec, "depth": 2})
    assert seen == [(2, True, None, ["depth", "model"], [2, 4, 1, 1])]
    assert found == WidthGroups((), frozenset({"a", "b"}))  # what multiplies has 4 channels
    named = {"inputs": IMAGE, "mask": None, "model": paddle.ones([1])}
    only_named = Net(lambda net, *, inputs, mask, model: net.b(net.a(inputs)), **layers)
    assert width_groups(only_named, (), named).fixed == {"b"}


def test_an_argument_by_name_that_cannot_be_built_is_named():
    with pytest.raises(InputError, match=r"inputs\['mask'\] must be a tensor, .* got object"):
        width_groups(Net(lambda net, x, mask: x), (IMAGE,), {"mask": object()})
