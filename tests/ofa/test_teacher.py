"""The teacher: no part of the model, asked once for each batch."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, DistillConfig
from tests.ofa.chain import CONFIG, UNTIED, WIDTHS, Chain, X, by_hand, chain, distilled
from tests.ofa.values import draw, randomised
from tests.tiny import paddle


def test_the_teacher_is_no_part_of_the_model():
    ofa, teacher = distilled()
    ofa.set_net_config({})  # a drawn one may be too narrow to be compared
    ofa.train()
    teacher.train()
    student, answer = ofa(X)
    assert answer.stop_gradient
    assert not teacher.training
    assert not any(layer.training for layer in teacher.sublayers())
    assert ofa.training
    ours = {id(p) for p in ofa.parameters()}
    assert not ours & {id(p) for p in teacher.parameters()}
    assert set(ofa.state_dict()) == {f"model.{name}" for name in ofa.model.state_dict()}
    (student.sum() + answer.sum() + ofa.calc_distill_loss()).backward()
    assert all(p.grad is None for p in teacher.parameters())
    np.testing.assert_allclose(answer.numpy(), by_hand(teacher, X.numpy(), [6] * 4), atol=1e-6)


def test_the_teacher_is_another_network():
    model = chain()
    with pytest.raises(InputError, match="another network than the one that is trained"):
        OFA(model, UNTIED, DistillConfig(teacher_model=model))


def test_one_batch_is_asked_once():
    ofa, teacher = distilled()
    calls = []
    teacher.register_forward_post_hook(lambda *_: calls.append(1))
    for width in (0.5, 0.67, 1.0):
        ofa.set_net_config({"first": {"expand_ratio": width}, "middle.1": {"expand_ratio": 1.0}})
        ofa(X)
    assert len(calls) == 1
    ofa(paddle.to_tensor(X.numpy() + 1))
    assert len(calls) == 2
    # A buffer that is filled again is another batch.
    batch = paddle.to_tensor(X.numpy())
    ofa(batch)
    batch.set_value(X.numpy() * 2)
    _, answer = ofa(batch)
    assert len(calls) == 4
    expected = by_hand(teacher, X.numpy() * 2, [6] * 4)
    np.testing.assert_allclose(answer.numpy(), expected, atol=1e-6)


class Arrays(Chain):
    """Takes an array, or an object that holds one."""

    def forward(self, x, depth=None):
        return super().forward(paddle.to_tensor(getattr(x, "pixels", x)), depth)


def asked_with_arrays():
    """Give an OFA that runs at full size, its teacher, and what counts the teacher's answers."""
    teacher, calls = randomised(Arrays()), []
    teacher.register_forward_post_hook(lambda *_: calls.append(1))
    ofa = OFA(chain(Arrays), UNTIED, DistillConfig(teacher_model=teacher))
    ofa.set_net_config({})
    return ofa, teacher, calls


def test_arrays_are_batches_too():
    ofa, teacher, calls = asked_with_arrays()
    batch = draw(3, 4)
    ofa(batch)
    ofa(batch.copy())
    assert len(calls) == 1
    batch *= 2  # a buffer that is filled again
    _, answer = ofa(batch)
    assert len(calls) == 2
    np.testing.assert_allclose(answer.numpy(), by_hand(teacher, batch, [6] * 4), atol=1e-6)


def test_a_batch_in_an_object_of_ones_own_is_asked_each_time():
    ofa, teacher, calls = asked_with_arrays()
    batch = SimpleNamespace(pixels=draw(3, 4))
    ofa(batch)
    batch.pixels = draw(3, 4, seed=1)
    _, answer = ofa(batch)
    assert len(calls) == 2
    np.testing.assert_allclose(answer.numpy(), by_hand(teacher, batch.pixels, [6] * 4), atol=1e-6)


def test_an_answer_that_was_written_into_is_asked_for_again():
    ofa, teacher = distilled()
    _, answer = ofa(X)
    answer.scale_(0.0)
    _, again = ofa(X)
    expected = by_hand(teacher, X.numpy(), [6] * 4)
    np.testing.assert_allclose(again.numpy(), expected, atol=1e-6)


def test_weights_for_the_teacher(tmp_path):
    source = randomised(Chain())
    path = str(tmp_path / "teacher.pdparams")
    paddle.save(source.state_dict(), path)
    for weights in (path, source.state_dict()):
        teacher = Chain()
        OFA(chain(), UNTIED, DistillConfig(teacher_model=teacher, teacher_model_path=weights))
        np.testing.assert_array_equal(teacher.last.weight.numpy(), source.last.weight.numpy())
    with pytest.raises(InputError, match="must hold every weight of the teacher"):
        OFA(chain(), UNTIED, DistillConfig(teacher_model=Chain(), teacher_model_path={}))


def test_a_network_wrapped_for_data_parallel_training():
    config = DistillConfig(teacher_model=randomised(Chain()), mapping_layers=["_layers.first"])
    with pytest.warns(UserWarning, match="single-card"):
        ofa = OFA(paddle.DataParallel(chain()), UNTIED, config)
    assert list(ofa.ofa_layers) == list(CONFIG)
    ofa.set_net_config(CONFIG)
    network = ofa.model._layers
    expected = by_hand(network, X.numpy(), WIDTHS)
    np.testing.assert_allclose(ofa(X)[0].numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(ofa.export(CONFIG)(X).numpy(), expected, atol=1e-6)
    ofa.set_net_config({})
    ofa(X)
    assert ofa.calc_distill_loss().item() < 1e-12  # the same weights
    # Wrapped later, as the published scripts do.
    later = OFA(chain(), UNTIED)
    with pytest.warns(UserWarning, match="single-card"):
        later.model = paddle.DataParallel(later.model)
    later.set_net_config(CONFIG)
    np.testing.assert_allclose(later(X).numpy(), expected, atol=1e-6)
