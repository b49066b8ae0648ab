"""Teachers: networks that answer and never learn."""

from __future__ import annotations

import paddle

from ofa_bert.data.batches import Batch
from ofa_bert.nn.bert import BertForSequenceClassification, ModelOutput


class ModelTeacher:
    """A fine-tuned network at full size. Its parameters are frozen."""

    def __init__(self, model: BertForSequenceClassification) -> None:
        for parameter in model.parameters():
            parameter.stop_gradient = True
        self.model = model

    def __call__(self, batch: Batch) -> ModelOutput:
        """Answer a batch in eval mode, whatever mode the network was left in."""
        self.model.eval()
        with paddle.no_grad():
            return self.model(batch.input_ids, batch.token_type_ids, batch.attention_mask)


class NoTeacher:
    """Stands where labels alone are learned."""

    def __call__(self, batch: Batch) -> None:
        """Answer nothing."""
        return None
