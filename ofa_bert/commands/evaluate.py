"""Score a model on a development set; of a supernet, each trained width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ofa_bert as ofa
from ofa_bert.arguments import parse_args
from ofa_bert.command import PACKAGE_SCRIPT, run_on_devices
from ofa_bert.config import DataConfig, DeviceConfig, SourceConfig, width_label
from ofa_bert.run_folder import data_settings

if TYPE_CHECKING:
    from ofa_bert.distributed import Ranks

GROUPS = (SourceConfig, DataConfig, DeviceConfig)
NAME = "ofa_bert evaluate"


def main(argv: Sequence[str]) -> int:
    """Read the command line; data flags default to those of the run that made the model."""
    source, typed, _ = parse_args(NAME, __doc__ or "", GROUPS, argv)
    defaults = data_settings(source.model_name_or_path, typed)
    configs = parse_args(NAME, __doc__ or "", GROUPS, argv, defaults)
    again = ["evaluate", *argv]
    return run_on_devices(
        configs[-1], PACKAGE_SCRIPT, again, lambda ranks: evaluate(configs, ranks)
    )


def evaluate(configs: Sequence[Any], ranks: Ranks) -> None:
    """Print the metrics of the model, or of each width, in the main process."""
    source, data, _ = configs
    model, _, task = ofa.load_model_and_task(source, data, need_train=False)
    subnets = {"model": ofa.full_subnet(model.config)}
    if ofa.is_supernet(source.model_name_or_path):
        widths = ofa.trained_widths(source.model_name_or_path, model.config)
        subnets = {f"width {width_label(width)}": subnet for width, subnet in widths.items()}
    scores = ofa.evaluate_subnets(model, task.dev, task.metrics, subnets, ranks)
    if not ranks.is_main:
        return
    for name, metrics in scores.items():
        shown = ", ".join(f"{metric} {value:.4f}" for metric, value in metrics.items())
        print(f"{name}: {shown}")  # noqa: T201
