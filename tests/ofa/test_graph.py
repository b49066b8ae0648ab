"""Which widths are one: read off a network's structure."""

from __future__ import annotations

import pytest

from ofa_bert import ofa as package
from ofa_bert.ofa import get_sub_model
from ofa_bert.ofa.graph import WidthGroups, width_groups
from tests.ofa.graphs import IMAGE, ROWS, Net, conv, groups_of
from tests.tiny import paddle

nn = paddle.nn
F = paddle.nn.functional
InputSpec = paddle.static.InputSpec


def test_a_chain_ties_nothing_and_fixes_its_output():
    def run(net, x):
        x = F.relu(net.bn(net.a(x)))
        x = F.max_pool2d(net.b(x), 2)
        return net.fc(F.relu(net.hidden(x.flatten(1))))

    layers = {"a": conv(3, 4), "bn": nn.BatchNorm2D(4), "b": conv(4, 6)}
    layers |= {"hidden": nn.Linear(6 * 16, 5), "fc": nn.Linear(5, 2)}
    assert groups_of(run, IMAGE, **layers) == ([], ["fc"])


def test_a_residual_addition_ties_what_it_adds():
    def run(net, x):
        x = net.a(x)
        return net.out(x + net.c(net.b(x)))

    layers = {"a": conv(3, 4), "b": conv(4, 6), "c": conv(6, 4), "out": conv(4, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "c"]], ["out"])


def test_the_published_name_finds_the_same():
    def run(net, x):
        x = net.a(x)
        return net.out(x + net.c(net.b(x)))

    net = Net(run, a=conv(3, 4), b=conv(4, 6), c=conv(6, 4), out=conv(4, 2))
    for find in (package.check_search_space, get_sub_model.check_search_space):
        found = find(net, IMAGE)
        assert [sorted(tied) for tied in found.tied] == [["a", "c"]]
        assert sorted(found.fixed) == ["out"]


def test_additions_in_a_row_tie_all_of_them():
    def run(net, x):
        x = net.a(x)
        x = x + net.b(x)
        return net.out(x + net.c(x))

    layers = {"a": conv(3, 4), "b": conv(4, 4), "c": conv(4, 4), "out": conv(4, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "b", "c"]], ["out"])


def test_a_gate_ties_with_what_it_multiplies():
    def run(net, x):
        x = net.a(x)
        gate = F.sigmoid(net.wide(F.relu(net.narrow(F.adaptive_avg_pool2d(x, 1)))))
        return net.out(x * gate)

    layers = {"a": conv(3, 8), "narrow": conv(8, 2), "wide": conv(2, 8), "out": conv(8, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "wide"]], ["out"])


@pytest.mark.parametrize(
    "depthwise",
    [
        conv(8, 8, 3, groups=8),
        conv(8, 8, 3, groups=2),
        nn.Conv2DTranspose(8, 8, 3, groups=8),
        nn.Conv2DTranspose(8, 8, 3, groups=4),
    ],
)
def test_grouped_convolutions_are_as_wide_as_their_input(depthwise):
    def run(net, x):
        return net.out(net.bn(net.grouped(net.a(x))))

    layers = {"a": conv(3, 8), "grouped": depthwise, "bn": nn.BatchNorm2D(8), "out": conv(8, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "grouped"]], ["out"])


def test_a_grouped_convolution_of_another_size_keeps_both_widths():
    def run(net, x):
        return net.out(net.grouped(net.a(x)))

    layers = {"a": conv(3, 8), "grouped": conv(8, 16, groups=8), "out": conv(16, 2)}
    assert groups_of(run, IMAGE, **layers) == ([], ["a", "grouped", "out"])


def test_transposed_convolutions_have_a_width_of_their_own():
    def run(net, x):
        return net.out(net.b(net.a(x)) + net.c(x))

    layers = {"a": nn.Conv2DTranspose(3, 4, 1), "b": nn.Conv2DTranspose(4, 6, 1)}
    layers |= {"c": conv(3, 6), "out": conv(6, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["b", "c"]], ["out"])


def test_a_layer_called_twice_ties_what_feeds_it():
    def run(net, x):
        return net.out(net.twice(net.a(x)) + net.twice(net.b(x)))

    layers = {"a": conv(3, 4), "b": conv(3, 4), "twice": conv(4, 5), "out": conv(5, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "b"]], ["out"])


def test_a_layer_called_on_its_own_output_is_tied_with_its_input():
    def run(net, x):
        return net.out(net.again(net.again(net.a(x))))

    layers = {"a": conv(3, 4), "again": conv(4, 4), "out": conv(4, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "again"]], ["out"])


def test_a_shared_norm_ties_what_feeds_it():
    def run(net, x):
        return net.out(net.bn(net.a(x))), net.end(net.bn(net.b(x)))

    layers = {"a": conv(3, 4), "b": conv(3, 4), "bn": nn.BatchNorm2D(4)}
    layers |= {"out": conv(4, 2), "end": conv(4, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "b"]], ["end", "out"])


def test_a_shared_layer_norm_ties_what_feeds_it_over_one_axis_and_fixes_it_over_several():
    def run(net, x):
        return net.out(net.norm(net.a(x)) * net.norm(net.b(x)).mean(-1, True))

    layers = {"a": nn.Linear(4, 8), "b": nn.Linear(4, 8), "out": nn.Linear(8, 2)}
    assert groups_of(run, ROWS, **layers, norm=nn.LayerNorm(8)) == ([["a", "b"]], ["out"])
    whole = nn.LayerNorm([3, 8], weight_attr=False, bias_attr=False)
    assert groups_of(run, ROWS, **layers, norm=whole) == ([], ["a", "b", "out"])


def test_two_layers_with_one_weight_are_tied():
    first, second = nn.Linear(4, 6), nn.Linear(4, 6)
    second.weight = first.weight

    def run(net, x):
        return net.out(net.first(x)) + net.end(net.second(x))

    layers = {"first": first, "second": second, "out": nn.Linear(6, 2), "end": nn.Linear(6, 2)}
    found = groups_of(run, InputSpec([3, 4]), **layers)
    assert found == ([["first", "second"]], ["end", "out"])


def test_concatenated_and_split_channels_keep_their_widths():
    def run(net, x):
        joined = paddle.concat([net.a(x), net.b(x)], axis=1)
        left, right = paddle.split(net.c(joined), 2, axis=1)
        return net.out(left * right)

    layers = {"a": conv(3, 4), "b": conv(3, 5), "c": conv(9, 6), "out": conv(3, 2)}
    assert groups_of(run, IMAGE, **layers) == ([], ["a", "b", "c", "out"])


def test_concatenation_along_another_axis_ties():
    def run(net, x):
        return net.out(paddle.concat([net.a(x), net.b(x)], axis=2))

    layers = {"a": conv(3, 4), "b": conv(3, 4), "out": conv(4, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "b"]], ["out"])


def test_what_meets_an_input_or_a_fixed_parameter_keeps_its_width():
    class Fixed(nn.Layer):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = conv(3, 3), conv(3, 4), conv(4, 5)
            self.d, self.e, self.out = conv(5, 6), conv(6, 7), conv(7, 2)
            self.scale = self.create_parameter([4, 1, 1])
            self.register_buffer("shift", paddle.ones([1, 5, 1, 1]))

        def forward(self, x):
            x = self.b(x + self.a(x)) * self.scale
            x = self.d(self.c(x) + self.shift)
            return self.out(self.e(x + paddle.randn([2, 6, 1, 1])))

    found = width_groups(Fixed(), IMAGE)
    assert found == WidthGroups((), frozenset({"a", "b", "c", "d", "out"}))


def test_layers_that_are_not_elastic_keep_what_feeds_them():
    def run(net, x):
        x = net.gn(net.a(x))
        x = net.prelu(net.b(x))
        return net.c(net.line(x.flatten(2)).mean(-1))

    layers = {"a": conv(3, 4), "gn": nn.GroupNorm(2, 4), "b": conv(4, 5), "c": nn.Linear(6, 2)}
    layers |= {"prelu": nn.PReLU(5), "line": nn.Conv1D(5, 6, 3)}
    assert groups_of(run, IMAGE, **layers) == ([], ["a", "b", "c"])


def test_a_weight_that_other_code_reads_is_kept_whole():
    """Otherwise a decoder that multiplies by the embedding would meet fewer features."""

    def run(net, ids):
        hidden = net.b(net.a(net.words(ids)))
        return paddle.matmul(hidden, net.words.weight, transpose_y=True)

    layers = {"words": nn.Embedding(9, 4), "a": nn.Linear(4, 6), "b": nn.Linear(6, 4)}
    assert groups_of(run, InputSpec([2, 3], "int64"), **layers) == ([], ["b", "words"])


@pytest.mark.parametrize(
    ("read", "fixed"),
    [
        # Back through the layer itself: both sides of its weight.
        (lambda net, x: paddle.matmul(net.b(x), net.b.weight, transpose_y=True), "ab"),
        (lambda net, x: F.linear(x, net.b.weight, net.b.bias), "ab"),
        (lambda net, x: net.b(x) + F.linear(x, net.b.weight, net.b.bias), "ab"),
        # Side by side, in one product.
        (lambda net, x: paddle.matmul(x, paddle.concat([net.b.weight, net.b.weight], 1)), "ab"),
        # What meets a bias or a norm's weight has as many numbers as that.
        (lambda net, x: net.b(x) + net.b.bias, "b"),
        (lambda net, x: net.b(net.norm(x) * net.norm.weight), "a"),
        # Another layer is handed the weight.
        (lambda net, x: net.b(x) * net.act(net.b.weight).mean(0), "ab"),
        (lambda net, x: net.b(x), ""),
    ],
)
def test_parameters_that_other_code_reads_are_kept_whole(read, fixed):
    layers = {"a": nn.Linear(4, 6), "norm": nn.LayerNorm(6), "act": nn.ReLU()}
    layers |= {"b": nn.Linear(6, 6), "out": nn.Conv1D(3, 2, 1)}
    found = groups_of(lambda net, x: net.out(read(net, net.a(x))).mean(-1), ROWS, **layers)
    assert found == ([], list(fixed))


def test_a_layer_whose_error_is_caught_hides_no_reading():
    class Fails(nn.Layer):
        def forward(self, x):
            raise KeyError("nothing here")

    def run(net, x):
        try:
            net.fails(x)
        except KeyError:
            x = net.b(net.a(x))
        return net.out(F.linear(net.b(x), net.b.weight))

    layers = {"a": nn.Linear(4, 6), "b": nn.Linear(6, 6), "out": nn.Linear(6, 2), "fails": Fails()}
    assert groups_of(run, ROWS, **layers) == ([], ["a", "b", "out"])


def test_a_layer_that_does_not_run_keeps_its_width():
    layers = {"a": conv(3, 4), "idle": conv(4, 4), "out": conv(4, 2)}
    assert groups_of(lambda net, x: net.out(net.a(x)), IMAGE, **layers) == ([], ["idle", "out"])


def test_branches_on_data_keep_all_they_read():
    def run(net, x):
        a, b = net.a(x), net.b(x)
        mixed = paddle.static.nn.cond(x.mean() > 0, lambda: a + 1.0, lambda: a - 1.0)
        return net.out(net.c(mixed)) + net.end(b)

    layers = {"a": conv(3, 4), "b": conv(3, 4), "c": conv(4, 5)}
    layers |= {"out": conv(5, 2), "end": conv(4, 2)}
    assert groups_of(run, IMAGE, **layers) == ([], ["a", "end", "out"])
