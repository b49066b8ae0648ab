"""Objectives against NumPy: of a whole step, whichever part of it a batch holds."""

import numpy as np
import paddle
import pytest

from ofa_bert.config import ObjectiveConfig
from ofa_bert.data.batches import make_batch
from ofa_bert.distill.objective import DistillObjective, LabelObjective
from ofa_bert.nn.bert import ModelOutput
from ofa_bert.subnet import Subnet, full_subnet
from tests.oracles import log_softmax, softmax
from tests.tiny import tiny_config, tiny_dataset


@pytest.mark.parametrize("num_classes", [3, 1])
def test_the_labels_loss_and_its_gradient_equal_numpy(num_classes):
    dataset = tiny_dataset(5, num_classes=num_classes)
    batch = make_batch(dataset, np.arange(5), step_examples=8)
    values = np.random.default_rng(3).normal(size=(5, num_classes)).astype("float32")
    logits = paddle.to_tensor(values, stop_gradient=False)
    objective = LabelObjective(regression=num_classes == 1)
    subnet = full_subnet(tiny_config(num_classes=num_classes))
    terms = objective(ModelOutput(logits, (), ()), None, batch, subnet)
    if num_classes == 1:
        errors = values - dataset.labels[:, None]
        expected, slope = (errors**2).sum() / 8, 2 * errors / 8
    else:
        expected = -log_softmax(values)[np.arange(5), dataset.labels].sum() / 8
        slope = (softmax(values) - np.eye(3)[dataset.labels]) / 8
    assert set(terms) == {"label"}
    assert terms["label"].item() == pytest.approx(expected, rel=1e-5)
    (found,) = paddle.grad(terms["label"], logits)
    np.testing.assert_allclose(found.numpy(), slope, rtol=1e-5, atol=1e-7)
    assert list(objective.named_parameters()) == []


def test_each_layer_that_is_kept_is_matched_to_the_same_layer_of_the_teacher():
    """Of four layers the second and the fourth: their states are 2 and 4, after the embeddings."""
    batch = make_batch(tiny_dataset(5), np.arange(5), step_tokens=40)
    mask = batch.attention_mask.numpy().astype(bool)
    generator = np.random.default_rng(3)
    ours, theirs = (
        [generator.normal(size=(*mask.shape, 6)).astype("float32") for _ in range(count)]
        for count in (3, 5)
    )
    student, teacher = (
        ModelOutput(paddle.zeros([5, 3]), tuple(map(paddle.to_tensor, states)), ())
        for states in (ours, theirs)
    )
    subnet = Subnet(layers=(1, 3), num_heads=(2, 2), num_neurons=(4, 4))
    config = ObjectiveConfig(lambda_logit=0.0, lambda_rep=0.5)
    terms = DistillObjective(config, regression=False)(student, teacher, batch, subnet)
    pairs = zip(ours, (theirs[0], theirs[2], theirs[4]), strict=True)
    expected = sum(((one - other)[mask] ** 2).sum() for one, other in pairs) / (40 * 6)
    assert set(terms) == {"rep"}
    assert terms["rep"].item() == pytest.approx(0.5 * expected, rel=1e-5)
