"""bf16 where it is real: refused on a CPU, and the losses in fp32 whatever the forward gives."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import paddle
import pytest

from ofa_bert.config import ObjectiveConfig, TrainConfig
from ofa_bert.data.batches import training_steps
from ofa_bert.distill.objective import DistillObjective
from ofa_bert.distill.recorded import make_teacher
from ofa_bert.distill.student import SubnetStudent
from ofa_bert.distill.teacher import ModelTeacher
from ofa_bert.errors import InputError
from ofa_bert.nn.bert import BertForSequenceClassification
from ofa_bert.optimizer import make_optimizer
from ofa_bert.precision import check_training_precision, forward_in, in_float32
from ofa_bert.training import Parts, train, train_step
from tests.tiny import randomise, tiny_config, tiny_dataset, tiny_model


def parts_of(config):
    teacher, student = tiny_model(config), tiny_model(config)
    randomise(student, seed=5)
    objective = DistillObjective(ObjectiveConfig(), regression=False)
    return Parts(SubnetStudent(student), ModelTeacher(teacher), objective)


class RoundedToBf16:
    """A student whose answers come in bf16, as those of amp on a GPU do."""

    def __init__(self, part):
        self.part, self.model = part, part.model

    def subnets(self, step):
        return self.part.subnets(step)

    def __call__(self, *arguments):
        output = self.part(*arguments)
        return replace(
            output,
            logits=output.logits.astype("bfloat16"),
            hidden_states=tuple(s.astype("bfloat16") for s in output.hidden_states),
        )


class Dtypes:
    """An objective that notes what it is given."""

    def __init__(self, objective):
        self.objective, self.seen = objective, set()
        self.named_parameters = objective.named_parameters

    def __call__(self, student, teacher, batch, subnet):
        for output in (student, teacher):
            self.seen |= {tensor.dtype for tensor in (output.logits, *output.hidden_states)}
        return self.objective(student, teacher, batch, subnet)


def test_another_precision_is_refused():
    with pytest.raises(InputError, match=r"precision must be fp32 or bf16; got 'fp16'"):
        check_training_precision("fp16")


@pytest.mark.skipif(paddle.device.cuda.device_count() > 0, reason="there is a GPU")
def test_bf16_is_refused_on_a_cpu_before_anything_is_done():
    check_training_precision("fp32")
    with pytest.raises(InputError, match=r"got device cpu.*pass --precision fp32"):
        train(
            parts_of(tiny_config()),
            tiny_dataset(4),
            TrainConfig(precision="bf16"),
            evaluate=lambda: pytest.fail("nothing is to be evaluated"),
        )


def test_losses_are_computed_in_fp32():
    config = tiny_config()
    parts = parts_of(config)
    noted = Dtypes(parts.objective)
    rounded = Parts(RoundedToBf16(parts.student), parts.teacher, noted)
    training = TrainConfig(batch_size=4)
    ((batch,),) = training_steps(tiny_dataset(4), batch_size=4, seed=0, epoch=0)
    optimizer = make_optimizer(parts.student.model, [], training)
    train_step(rounded, [batch], optimizer, training, 1)
    assert noted.seen == {paddle.float32}


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_the_student_alone_computes_in_bf16(monkeypatch, cache):
    """A teacher answers in fp32 whether its answers are kept or not: they are the same."""
    within, asked = [], []

    @contextmanager
    def noted(precision):
        within.append(precision)
        yield
        within.pop()

    forward = BertForSequenceClassification.forward

    def asking(model, *args, **kwargs):
        asked.append((model is teacher, list(within)))
        return forward(model, *args, **kwargs)

    monkeypatch.setattr("ofa_bert.training.forward_in", noted)
    monkeypatch.setattr(BertForSequenceClassification, "forward", asking)
    parts, rows = parts_of(tiny_config()), tiny_dataset(4)
    teacher = parts.teacher.model
    parts = Parts(parts.student, make_teacher(teacher, rows, cache), parts.objective)
    training = TrainConfig(batch_size=4, precision="bf16")
    ((batch,),) = training_steps(rows, batch_size=4, seed=0, epoch=0)
    optimizer = make_optimizer(parts.student.model, [], training)
    train_step(parts, [batch], optimizer, training, 1)
    assert asked == [(True, []), (False, ["bf16"])]


def test_widening_keeps_what_bf16_holds_and_copies_nothing_in_fp32():
    config = tiny_config()
    ((batch,),) = training_steps(tiny_dataset(4), batch_size=4, seed=0, epoch=0)
    teacher = parts_of(config).teacher
    plain, rounded = teacher(batch), RoundedToBf16(teacher)(batch)
    assert in_float32(plain) is plain
    # bf16 is the upper half of a float32, rounded to the nearest, ties to even.
    bits = plain.logits.numpy().view(np.uint32)
    expected = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32)
    np.testing.assert_array_equal(
        in_float32(rounded).logits.numpy(), expected.view(np.float32).reshape(plain.logits.shape)
    )


@pytest.mark.gpu
def test_products_are_in_bf16_on_a_gpu():
    left = paddle.randn([4, 4])
    with forward_in("bf16"):
        assert paddle.matmul(left, left).dtype == paddle.bfloat16
    with forward_in("fp32"):
        assert paddle.matmul(left, left).dtype == paddle.float32
