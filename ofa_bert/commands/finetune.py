"""Fine-tune a BERT on a task. The result can be a teacher, and a supernet can be made of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ofa_bert as ofa
from ofa_bert.arguments import parse_args
from ofa_bert.command import PACKAGE_SCRIPT, run_on_devices
from ofa_bert.config import DataConfig, DeviceConfig, OutputConfig, SourceConfig, TrainConfig

if TYPE_CHECKING:
    from ofa_bert.distributed import Ranks

logger = logging.getLogger(__name__)

GROUPS = (SourceConfig, DataConfig, OutputConfig, TrainConfig, DeviceConfig)


def main(argv: Sequence[str]) -> int:
    """Read the command line and run on the devices it names."""
    configs = parse_args("python -m ofa_bert finetune", __doc__ or "", GROUPS, argv)
    again = ["finetune", *argv]
    return run_on_devices(
        configs[-1], PACKAGE_SCRIPT, again, lambda ranks: finetune(configs, ranks)
    )


def finetune(configs: Sequence[Any], ranks: Ranks) -> None:
    """Train on the labels, keep the weights with the best score."""
    source, data, output, training, _ = configs
    run_start = time.perf_counter()
    ofa.check_output(output, source, ranks)
    ofa.check_training_precision(training.precision)
    model, tokenizer, task = ofa.load_model_and_task(source, data, seed=training.seed)
    ofa.plan_training(task.train, training, ranks)
    inputs = ofa.fingerprints(model, tokenizer, task)
    with ofa.open_run_folder(output, configs, ranks, inputs) as folder:
        student = ofa.SubnetStudent(model)
        objective = ofa.LabelObjective(regression=task.regression)

        def evaluate() -> ofa.Scores:
            return {"full": ofa.evaluate_model(model, task.dev, task.metrics, ranks=ranks)}

        best = ofa.train(
            ofa.Parts(student, ofa.NoTeacher(), objective),
            task.train,
            training,
            evaluate=evaluate,
            checkpoints=folder.checkpoints,
            metrics_log=folder.metrics_log,
            ranks=ranks,
        )
        if ranks.is_main:
            ofa.save_model(model, folder.path, tokenizer)
            folder.finish(ofa.training_results(best, folder.run, run_start, command="finetune"))
            scores = ofa.format_metrics(best.scores["full"])
            print(f"{task.name}: {scores} (step {best.step}), saved in {folder.path}")  # noqa: T201
