"""Sub-networks train where slices are views, as they are where paddle is imported first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ofa_bert.ofa import OFA, Convert, RunConfig, supernet
from tests.ofa.residual import IMAGES, SMALL, TIED, residual
from tests.ofa.values import draw, randomised
from tests.ofa.words import IDS, Words
from tests.tiny import paddle

nn = paddle.nn


def dense():
    """Give the norm that convolutions do not have."""
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1D(8), nn.LayerNorm(8), nn.Linear(8, 3))
    return randomised(Convert(supernet(expand_ratio=[0.5, 1.0])).convert(randomised(model)))


def words():
    return Convert(supernet(expand_ratio=[0.5, 1.0])).convert(randomised(Words()))


def halves(*names):
    return {name: {"expand_ratio": 0.5} for name in names}


CASES = {
    "batch norm": (lambda: residual(nn.BatchNorm2D), TIED, SMALL, IMAGES),
    "the older batch norm": (lambda: residual(nn.BatchNorm), TIED, SMALL, IMAGES),
    "instance norm": (lambda: residual(nn.InstanceNorm2D), TIED, SMALL, IMAGES),
    "dense": (dense, RunConfig(same_search_space=[]), halves("0"), paddle.to_tensor(draw(5, 4))),
    "words": (words, None, halves(*(f"attention.{name}_proj" for name in "qkv")), IDS),
}


def trains_as_the_plain_network(case):
    """Take a step of a sub-network and of its export, and compare what they are of paddle's own."""
    make, run_config, config, inputs = CASES[case]
    ofa = OFA(make(), run_config)
    plain = ofa.export(config, [list(inputs.shape)], [str(inputs.dtype).removeprefix("paddle.")])
    plain.train()
    ofa.train()
    ofa.set_net_config(config)
    for network in (ofa, plain):
        (network(inputs) ** 2).sum().backward()
    whole = {name.replace(".fn", ""): p for name, p in ofa.model.named_parameters()}
    assert any(own.shape != whole[name].shape for name, own in plain.named_parameters())
    for name, own in plain.named_parameters():
        part = tuple(map(slice, own.shape))
        if name.endswith(("_mean", "_variance")):
            np.testing.assert_allclose(whole[name].numpy()[part], own.numpy(), rtol=1e-5, atol=1e-6)
        elif own.shape[2:] == whole[name].shape[2:]:  # a smaller kernel is not the first part
            scale = max(1.0, np.abs(own.grad.numpy()).max())
            found, expected = whole[name].grad.numpy()[part] / scale, own.grad.numpy() / scale
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:When training, we now always track")
def test_a_step_where_slices_are_copies(case):
    trains_as_the_plain_network(case)


def test_steps_where_paddle_is_imported_first():
    code = (
        "import paddle\n"
        "assert paddle.get_flags('FLAGS_use_stride_kernel')['FLAGS_use_stride_kernel']\n"
        "from tests.ofa.test_views import CASES, trains_as_the_plain_network\n"
        "for case in CASES: trains_as_the_plain_network(case)"
    )
    own = {n: v for n, v in os.environ.items() if n != "FLAGS_use_stride_kernel"}
    root = str(Path(__file__).parents[2])
    child = subprocess.run(
        [sys.executable, "-c", code],
        env={**own, "PYTHONPATH": root},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr
