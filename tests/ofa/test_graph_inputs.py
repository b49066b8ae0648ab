"""Which widths are one: inputs and networks of which that cannot be read."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ofa_bert.errors import InputError
from tests.ofa.graphs import IMAGE, groups_of
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
