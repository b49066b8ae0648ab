"""Which widths are one: what each operation does to them."""

from __future__ import annotations

import pytest

from tests.ofa.graphs import IMAGE, ROWS, conv, groups_of
from tests.tiny import paddle

nn = paddle.nn
F = paddle.nn.functional
InputSpec = paddle.static.InputSpec
TIED, FREE, ONE = ([["a", "b"]], []), ([], []), ([], ["a"])


@pytest.mark.parametrize(
    ("combine", "width", "expected"),
    [
        (lambda a, b: a * b, 8, TIED),
        (lambda a, b: paddle.maximum(a, b), 8, TIED),
        (lambda a, b: paddle.where(a > 0, a, b), 8, TIED),
        (lambda a, b: paddle.stack([a, b], 1).sum(1), 8, TIED),
        (lambda a, b: paddle.stack([a, b], -1).max(-1), 8, TIED),
        (lambda a, b: paddle.add_n([a, b]), 8, TIED),
        (lambda a, b: a.expand_as(b), 8, TIED),
        (lambda a, b: a.mean(1, keepdim=True).expand_as(b), 8, TIED),
        (lambda a, b: paddle.concat([a, b], 1), 8, TIED),
        (lambda a, b: a.transpose([0, 2, 1]).matmul(b.transpose([0, 2, 1]), False, True), 8, ONE),
        (lambda a, b: a.matmul(b, transpose_y=True), 3, TIED),
        (lambda a, b: paddle.bmm(a, b.transpose([0, 2, 1])), 3, TIED),
        (lambda a, b: a.sum(-1, keepdim=True) * b.cumsum(1), 8, FREE),
        (lambda a, b: a.sum(-1, keepdim=True) + F.softmax(b), 8, FREE),
        (lambda a, b: a.argmax(-1, keepdim=True).astype(b.dtype) * b, 8, FREE),
        (lambda a, b: paddle.logsumexp(a, -1, keepdim=True) * b.clip(-1, 1), 8, FREE),
        (lambda a, b: a.mean() * b.unsqueeze(1).squeeze(1), 8, FREE),
        (lambda a, b: a.argmax().astype(b.dtype) * b, 8, FREE),
        (lambda a, b: a.sum(-1, keepdim=True) + b[:, 0:2].tile([1, 3, 1])[:, :3], 8, FREE),
        (lambda a, b: a.sum(-1, keepdim=True)[:, :1] + b[:, 0].unsqueeze(1), 8, FREE),
        (lambda a, b: a.mean(-1, True) * paddle.unbind(b, 1)[0].unsqueeze(1), 8, FREE),
        (lambda a, b: paddle.gather(a, paddle.to_tensor([2, 0]), axis=1), 8, FREE),
        (lambda a, b: a.reshape([a.shape[0], 3, -1]), 8, FREE),
        (lambda a, b: a.reshape([0, 0, -1, 2]).flatten(2), 8, FREE),
        (lambda a, b: a.unsqueeze(1).expand([-1, 5, -1, -1]), 8, FREE),
        (lambda a, b: a.unsqueeze(1).expand([2, 5, 3, 8]), 8, ONE),
        (lambda a, b: a.reshape([2, 3, 8]), 8, ONE),
        (lambda a, b: a.reshape([-1, 8]), 8, ONE),
        (lambda a, b: a.reshape([0, 0, 4, 2]).flatten(2), 8, ONE),
        (lambda a, b: a.reshape([0, 0, 2, -1]).flatten(2), 8, ONE),
        (lambda a, b: a.transpose([0, 2, 1]).flatten(1), 24, FREE),
        (lambda a, b: a.transpose([0, 2, 1]).reshape([0, -1, 4]).mean(1), 4, ONE),
        (lambda a, b: a.flatten(1), 24, ONE),
        (lambda a, b: a[:, :, :6], 6, ONE),
        (lambda a, b: paddle.gather(a, paddle.to_tensor([2, 0]), axis=2), 2, ONE),
        (lambda a, b: a.tile([1, 1, 2]), 16, ONE),
        (lambda a, b: paddle.topk(a, 3)[0], 3, ONE),
        (lambda a, b: paddle.flip(a, [-1]), 8, ONE),
        (lambda a, b: paddle.unbind(a, 2)[1].unsqueeze(-1), 1, ONE),
        (lambda a, b: F.glu(a), 4, ONE),
    ],
)
def test_operations(combine, width, expected):
    """``b`` runs through ``end`` as well, so that it is never idle."""

    def run(net, x):
        b = net.b(x)
        return net.out(combine(net.a(x), b)), net.end(b)

    layers = {"a": nn.Linear(4, 8), "b": nn.Linear(4, 8)}
    layers |= {"out": nn.Linear(width, 2), "end": nn.Linear(8, 2)}
    tied, fixed = groups_of(run, ROWS, **layers)
    assert (tied, [name for name in fixed if name in "ab"]) == expected


def test_writing_into_a_tensor_keeps_what_is_written():
    def run(net, x):
        a = net.a(x) * 1.0
        a[:, 0] = net.b(x)[:, 1]
        return net.out(a)

    layers = {"a": nn.Linear(4, 8), "b": nn.Linear(4, 8), "out": nn.Linear(8, 2)}
    assert groups_of(run, ROWS, **layers) == ([], ["b", "out"])


def test_images_resized_and_padded_keep_their_channels():
    def run(net, x):
        up = F.interpolate(net.a(x), scale_factor=2, mode="bilinear")
        return net.out(F.pad(F.avg_pool2d(up, 2), [1, 1, 1, 1])[:, :, 1:9, 1:9] + net.b(x))

    layers = {"a": conv(3, 4), "b": conv(3, 4), "out": conv(4, 2)}
    assert groups_of(run, IMAGE, **layers) == ([["a", "b"]], ["out"])


def test_channels_last():
    def run(net, x):
        return net.out((net.a(x) + net.b(x)).flatten(1))

    layers = {"a": conv(3, 4, data_format="NHWC"), "b": conv(3, 4, data_format="NHWC")}
    layers["out"] = nn.Linear(4 * 9, 2)
    # Flattened, the channels are the last factor: their prefix is no prefix of the features.
    assert groups_of(run, InputSpec([2, 3, 3, 3]), **layers) == ([], ["a", "b", "out"])
