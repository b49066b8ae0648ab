"""Which widths are one: random networks, each read a second time in another way."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_bert.ofa.graph import WIDE, width_groups
from tests.ofa.graphs import conv
from tests.tiny import paddle

nn = paddle.nn
F = paddle.nn.functional
InputSpec = paddle.static.InputSpec


# Each step adds a layer or an operation on earlier tensors.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["conv", "depthwise", "add", "multiply", "concat", "norm", "pool"]),
        st.integers(0, 99),
        st.integers(0, 99),
        st.sampled_from([4, 8]),
    ),
    min_size=1,
    max_size=8,
)


class Random(nn.Layer):
    """Run ``steps``; ``widths`` gives convolutions other widths than they ask for, by name."""

    def __init__(self, steps, widths=None):
        super().__init__()
        self.program = []
        sizes = [3]
        for number, (kind, one, two, width) in enumerate(steps):
            name, one, two = f"s{number}", one % len(sizes), two % len(sizes)
            if kind in ("add", "multiply") and sizes[one] != sizes[two]:
                kind = "conv"
            if kind == "conv":
                width = (widths or {}).get(name, width)
                self.add_sublayer(name, conv(sizes[one], width))
            elif kind == "depthwise":
                width = sizes[one]
                self.add_sublayer(name, conv(width, width, 3, groups=width))
            elif kind == "norm":
                width = sizes[one]
                self.add_sublayer(name, nn.BatchNorm2D(width))
            else:
                width = sizes[one] + (sizes[two] if kind == "concat" else 0)
            self.program.append((kind, name, one, two))
            sizes.append(width)
        self.add_sublayer("out", conv(sizes[-1], 2))

    def forward(self, x):
        values = [x]
        for kind, name, one, two in self.program:
            a, b = values[one], values[two]
            values.append(
                a + b
                if kind == "add"
                else a * b
                if kind == "multiply"
                else paddle.concat([a, b], 1)
                if kind == "concat"
                else F.avg_pool2d(a, 1)
                if kind == "pool"
                else getattr(self, name)(a)
            )
        return self.out(values[-1])


def oracle(steps):
    """Ties and fixed widths by a second, independent way: which tensors have whose width.

    Each tensor's width is a set of layers; sets that meet are merged until nothing changes.
    """
    model = Random(steps)
    names = {n for n, layer in model.named_sublayers() if isinstance(layer, WIDE)}
    label = {index: f"t{index}" for index in range(len(steps) + 1)}
    fixed = {"t0", "out"}
    # Operations that ran without being needed tie as well: the program holds them.
    for index, (kind, _, one, two) in enumerate(model.program, 1):
        merged = {"conv": [], "concat": []}.get(kind, [label[one]])
        merged = [*merged, label[two]] if kind in ("add", "multiply") else merged
        for old in merged:
            new = label[index]
            label = {i: new if v == old else v for i, v in label.items()}
            fixed = {new if v == old else v for v in fixed}
        if kind == "concat":
            fixed |= {label[one], label[two], label[index]}
    owner = {
        name: label[index]
        for index, (kind, name, _, _) in enumerate(model.program, 1)
        if name in names
    }
    owner["out"] = "out"
    by_label = {}
    for name, key in owner.items():
        by_label.setdefault(key, set()).add(name)
    all_fixed = {name for key, members in by_label.items() if key in fixed for name in members}
    tied = [m for key, m in by_label.items() if key not in fixed and len(m) > 1]
    return sorted(map(sorted, tied)), all_fixed


@settings(max_examples=40)
@given(steps=STEPS)
def test_random_networks_agree_with_a_second_reading(steps):
    found = width_groups(Random(steps), InputSpec([1, 3, 4, 4]))
    assert (sorted(map(sorted, found.tied)), set(found.fixed)) == oracle(steps)
