"""What a forward may do, and still it is found what is joined."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.ofa import OFA, Convert, supernet
from tests.ofa.oracles import original_weights
from tests.ofa.values import draw, randomised
from tests.tiny import paddle

nn = paddle.nn


class Scaled(nn.Layer):
    """A forward with a mask that may be None, and settings that it hands nobody."""

    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, *args, mask, scale=None, **settings):
        x = args[0] if mask is None else args[0] * mask
        x = self.first(x)
        return self.out(x if scale is None else x * scale)


@pytest.mark.parametrize(
    "named", [{}, {"scale": paddle.to_tensor(draw(3, 1))}, {"other": 1, "model": None}]
)
def test_arguments_by_name_reach_the_network_as_they_are(named):
    ofa = OFA(Convert(supernet(expand_ratio=[0.5, 1.0])).convert(randomised(Scaled())))
    x = paddle.to_tensor(draw(3, 4))
    ofa(x, mask=None, **named)
    assert list(ofa.ofa_layers) == ["first"]
    ofa.set_net_config({"first": {"expand_ratio": 0.5}})
    weights = original_weights(ofa.model)
    hidden = x.numpy() @ weights["first.weight"][:, :4] + weights["first.bias"][:4]
    hidden = hidden * (named["scale"].numpy() if "scale" in named else 1)
    expected = hidden @ weights["out.weight"][:4] + weights["out.bias"]
    np.testing.assert_allclose(ofa(x, mask=None, **named).numpy(), expected, atol=1e-6)
