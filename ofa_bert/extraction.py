"""Cut a sub-network out of a model as a plain smaller model."""

from __future__ import annotations

import paddle

from ofa_bert.nn.bert import BertForSequenceClassification
from ofa_bert.subnet import Subnet, sub_config

LAYER_PREFIX = "bert.encoder.layers."


def extract(model: BertForSequenceClassification, subnet: Subnet) -> BertForSequenceClassification:
    """Copy the weights that ``subnet`` uses into a model of just that size.

    The sub-model computes what ``model(..., subnet=subnet)`` computes. It shares no memory with
    ``model``, which is left as it was.

    Args:
        model: the supernet, or any model of ours.
        subnet: which layers, heads and neurons to keep; kept layers are numbered anew from 0.

    Returns:
        A model in eval mode with ``sub_config(model.config, subnet)``.

    Raises:
        InputError: if ``subnet`` asks for more than the model has.
    """
    sub_model = BertForSequenceClassification(sub_config(model.config, subnet))
    source = dict(model.named_parameters())
    with paddle.no_grad():
        for name, parameter in sub_model.named_parameters():
            weight = source[source_name(name, subnet)]
            # Heads and neurons are sorted, so what a sub-network keeps of an axis is its start,
            # and the smaller parameter's own shape says how much of it that is.
            prefix = tuple(slice(size) for size in parameter.shape)
            parameter.set_value(weight[prefix])
    sub_model.eval()
    return sub_model


def source_name(name: str, subnet: Subnet) -> str:
    """Say which parameter of the source a sub-model's parameter is a part of.

    Only the number of an encoder layer differs, and only when layers are left out:
    ``bert.encoder.layers.1.linear1.bias`` is layer 3's if ``subnet.layers`` is ``(0, 3)``.
    """
    if not name.startswith(LAYER_PREFIX):
        return name
    layer, _, rest = name.removeprefix(LAYER_PREFIX).partition(".")
    return f"{LAYER_PREFIX}{subnet.layers[int(layer)]}.{rest}"
