"""Students: what is trained, and which of its sub-networks at each step."""

from __future__ import annotations

from collections.abc import Mapping

from ofa_bert.config import check_schedule
from ofa_bert.data.batches import Batch
from ofa_bert.distill.schedule import chosen
from ofa_bert.nn.bert import BertForSequenceClassification, ModelOutput
from ofa_bert.subnet import Subnet, full_subnet
from ofa_bert.widths import width_label


class SubnetStudent:
    """A network of which named sub-networks are trained.

    Args:
        model: the network.
        subnets: its sub-networks by name, widest first; default the whole network as ``full``.
        schedule: which of them a step trains, see ``schedule.chosen``.
        seed: of what the schedule draws.

    Raises:
        InputError: if the schedule cannot choose among the sub-networks.
    """

    def __init__(
        self,
        model: BertForSequenceClassification,
        subnets: Mapping[str, Subnet] | None = None,
        schedule: str = "all",
        seed: int = 0,
    ) -> None:
        self.model = model
        self._subnets = subnets or {"full": full_subnet(model.config)}
        check_schedule(schedule, len(self._subnets))
        self._schedule, self._seed = schedule, seed

    def subnets(self, step: int) -> Mapping[str, Subnet]:
        """Give those of one step."""
        names = list(self._subnets)
        places = chosen(self._schedule, len(names), self._seed, step)
        return {names[place]: self._subnets[names[place]] for place in places}

    def __call__(self, batch: Batch, subnet: Subnet) -> ModelOutput:
        """Run one sub-network on a batch."""
        return self.model(
            batch.input_ids, batch.token_type_ids, batch.attention_mask, subnet=subnet
        )


def width_student(
    model: BertForSequenceClassification,
    widths: Mapping[float, Subnet],
    schedule: str = "all",
    seed: int = 0,
) -> SubnetStudent:
    """Train the widths of a supernet; ``schedule`` says which at each step."""
    return SubnetStudent(model, named_widths(widths), schedule, seed)


def named_widths(widths: Mapping[float, Subnet]) -> dict[str, Subnet]:
    """Name sub-networks after their widths, widest first, e.g. ``width_0.5``."""
    ordered = sorted(widths.items(), reverse=True)
    return {width_name(width): subnet for width, subnet in ordered}


def width_name(width_mult: float) -> str:
    """Name the sub-network of a width, e.g. ``width_0.5``."""
    return f"width_{width_label(width_mult)}"
