"""Networks of named layers, and which of their widths are found to be one."""

from __future__ import annotations

from ofa_bert.ofa.graph import width_groups
from tests.tiny import paddle

nn = paddle.nn
InputSpec = paddle.static.InputSpec


class Net(nn.Layer):
    """A network of named layers and a function that runs them."""

    def __init__(self, run, **layers):
        super().__init__()
        for name, layer in layers.items():
            self.add_sublayer(name, layer)
        self.run = run
        self.layers = layers

    def forward(self, *inputs, **named):
        return self.run(self, *inputs, **named)


def groups_of(run, inputs, **layers):
    found = width_groups(Net(run, **layers), inputs)
    return sorted(sorted(tied) for tied in found.tied), sorted(found.fixed)


def conv(inputs, outputs, size=1, **options):
    return nn.Conv2D(inputs, outputs, size, padding=size // 2, **options)


IMAGE = InputSpec([2, 3, 8, 8], "float32")
ROWS = InputSpec([2, 3, 4], "float32")
