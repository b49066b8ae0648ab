"""Students: what is trained, and which of its sub-networks at each step."""

from __future__ import annotations

from collections.abc import Mapping

from ofa_bert.config import width_label
from ofa_bert.data.batches import Batch
from ofa_bert.nn.bert import BertForSequenceClassification, ModelOutput
from ofa_bert.subnet import Subnet, full_subnet


class SubnetStudent:
    """A network of which the same named sub-networks are trained at every step."""

    def __init__(
        self, model: BertForSequenceClassification, subnets: Mapping[str, Subnet] | None = None
    ) -> None:
        self.model = model
        self._subnets = subnets or {"full": full_subnet(model.config)}

    def subnets(self, step: int) -> Mapping[str, Subnet]:
        """Give all of them, whatever the step."""
        return self._subnets

    def __call__(self, batch: Batch, subnet: Subnet) -> ModelOutput:
        """Run one sub-network on a batch."""
        return self.model(
            batch.input_ids, batch.token_type_ids, batch.attention_mask, subnet=subnet
        )


def width_student(
    model: BertForSequenceClassification, widths: Mapping[float, Subnet]
) -> SubnetStudent:
    """Train every width of a supernet at every step, widest first."""
    ordered = sorted(widths.items(), reverse=True)
    return SubnetStudent(model, {f"width_{width_label(width)}": s for width, s in ordered})
