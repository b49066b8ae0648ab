"""Elastic layers take their tensor by the name that paddle's layers give it."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Block, Convert, SuperConv2D, supernet
from ofa_bert.ofa.calibrate import calibrate
from tests.ofa.residual import IMAGES, SMALL, Residual, by_hand
from tests.ofa.values import draw, randomised
from tests.ofa.words import IDS, Words
from tests.tiny import paddle

nn = paddle.nn


class NamedResidual(Residual):
    def forward(self, x):
        x = nn.functional.relu(self.norm(input=self.stem(x=x)))
        x = x + self.project(x=nn.functional.relu(self.depthwise(x=self.expand(x=x))))
        x = self.instance(input=self.up(output_size=None, x=self.grouped(x=x)))
        return self.head(input=x.mean([2, 3]))


class NamedWords(Words):
    def forward(self, x):
        x = self.norm(input=self.attention(query=self.embed(x=x)))
        return self.head(input=self.again(input=paddle.tanh(self.twice(input=x))))


def converted(network):
    space = supernet(kernel_size=(3, 5), expand_ratio=[0.5, 1.0])
    return randomised(Convert(space).convert(randomised(network)))


@pytest.mark.parametrize("norm", [nn.BatchNorm2D, nn.BatchNorm])
def test_convolutions_and_norms(norm):
    ofa = OFA(converted(NamedResidual(norm)))
    ofa.eval()
    ofa.set_net_config(SMALL)
    kernels = {"stem": 3, "depthwise": 3, "up": 3}
    expected = by_hand(ofa.model, IMAGES.numpy(), 4, 6, 4, 3, kernels, train=False)
    small = ofa.export(SMALL, [[1, 3, 8, 8]], ["float32"])
    for network in (ofa, small):
        np.testing.assert_allclose(network(IMAGES).numpy(), expected, atol=1e-4, rtol=1e-4)
    assert small.norm.weight.shape == [4]


def test_embeddings_attention_and_layer_norms():
    by_place, ofa = (OFA(converted(network())) for network in (Words, NamedWords))
    config = {f"attention.{name}_proj": {"expand_ratio": 0.5} for name in "qkv"}
    for one in (by_place, ofa):
        one.eval()
        one.set_net_config(config)
    small = ofa.export(config, input_shapes=[[2, 3]], input_dtypes=["int64"])
    for network in (ofa, small):
        np.testing.assert_allclose(network(IDS).numpy(), by_place(IDS).numpy(), atol=1e-6)
    assert small.attention.num_heads == 2


def test_a_block_of_ones_own_takes_either_name_beside_its_sizes():
    layer = Block(randomised(SuperConv2D(3, 4, 3, {"expand_ratio": [0.5, 1.0]})))
    x = paddle.to_tensor(draw(2, 3, 5, 5))
    expected = layer(x, expand_ratio=0.5).numpy()
    assert expected.shape[1] == 2
    for named in ({"x": x}, {"input": x}):
        np.testing.assert_array_equal(layer(expand_ratio=0.5, **named).numpy(), expected)


def test_calibration_says_what_it_cannot_see():
    ofa = OFA(converted(NamedResidual()))
    ofa.eval()
    with pytest.raises(InputError, match=r"batch_norm.* takes by name; call it as norm\(x\)"):
        calibrate(ofa, {}, [IMAGES])
