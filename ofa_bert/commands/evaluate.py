"""Score a model on a development set; of a supernet, each trained width."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ofa_bert as ofa
from ofa_bert.arguments import parse_args
from ofa_bert.command import PACKAGE_SCRIPT, run_on_devices
from ofa_bert.config import DataConfig, DeviceConfig, SourceConfig
from ofa_bert.data.tasks import find_task
from ofa_bert.remembered import changed_rows, data_settings
from ofa_bert.widths import width_label

if TYPE_CHECKING:
    from ofa_bert.distributed import Ranks

logger = logging.getLogger(__name__)

GROUPS = (SourceConfig, DataConfig, DeviceConfig)
NAME = "python -m ofa_bert evaluate"


def main(argv: Sequence[str]) -> int:
    """Read the command line; data flags default to those of the run that made the model."""
    about = __doc__ or ""
    source, typed, _ = parse_args(NAME, about, GROUPS, argv, remembered=[DataConfig])
    defaults = data_settings(source.model_name_or_path, typed)
    configs = parse_args(NAME, about, GROUPS, argv, defaults)
    rows_typed = typed.data_dir is not None or typed.dev_file is not None
    # Of other settings, the same file makes other rows.
    of_the_run = not rows_typed and configs[1] == DataConfig(**defaults)
    again = ["evaluate", *argv]
    return run_on_devices(
        configs[-1], PACKAGE_SCRIPT, again, lambda ranks: evaluate(configs, ranks, of_the_run)
    )


def evaluate(configs: Sequence[Any], ranks: Ranks, of_the_run: bool = False) -> None:
    """Print the metrics of the model, or of each width, in the main process.

    Rows that are to be those of the run that made the model are compared with what it noted.
    """
    source, data, _ = configs
    model, _, task = ofa.load_model_and_task(source, data, need_train=False)
    subnets = {"model": ofa.full_subnet(model.config)}
    if ofa.is_supernet(source.model_name_or_path):
        widths = ofa.trained_widths(source.model_name_or_path, model.config)
        subnets = {f"width {width_label(width)}": subnet for width, subnet in widths.items()}
    scores = ofa.evaluate_subnets(model, task.dev, task.metrics, subnets, ranks)
    if not ranks.is_main:
        return
    for name in changed_rows(source.model_name_or_path, task.dev) if of_the_run else ():
        logger.warning(
            "the rows of %s are not those that the run in %s was scored on: the file changed, or "
            "another one lies in its place",
            origin(data, name),
            source.model_name_or_path,
        )
    for name, rows in task.dev.items():
        print(f"{name}: {len(rows)} rows of {origin(data, name)}")  # noqa: T201
    for name, metrics in scores.items():
        print(f"{name}: {ofa.format_metrics(metrics)}")  # noqa: T201


def origin(data: DataConfig, split: str) -> str:
    """Say where the rows of a development set were read."""
    if data.dev_file is not None:
        return data.dev_file
    task = find_task(data.task_name)
    if data.data_dir is None:
        return f"{task.name} from the hub"
    return str(Path(data.data_dir, task.dev_files[split]))
