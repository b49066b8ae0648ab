"""Turn a fine-tuned BERT into a supernet and train all its widths at once.

The method is the width stage of DynaBERT (arXiv:2004.04037) with the fine-tuned model as teacher:
score heads and neurons, sort them, and let every width learn from every batch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ofa_bert as ofa
from ofa_bert.arguments import parse_args
from ofa_bert.command import run_on_devices, run_script
from ofa_bert.config import (
    DataConfig,
    DeviceConfig,
    ObjectiveConfig,
    OutputConfig,
    SourceConfig,
    SupernetConfig,
    TrainConfig,
)

if TYPE_CHECKING:
    from ofa_bert.distributed import Ranks

logger = logging.getLogger("run_glue_ofa")

GROUPS = (
    SourceConfig,
    DataConfig,
    OutputConfig,
    SupernetConfig,
    ObjectiveConfig,
    TrainConfig,
    DeviceConfig,
)


def main(argv: Sequence[str]) -> int:
    """Read the command line and run on the devices it names."""
    configs = parse_args("run_glue_ofa.py", __doc__ or "", GROUPS, argv)
    return run_on_devices(configs[-1], __file__, argv, lambda ranks: compress(configs, ranks))


def compress(configs: Sequence[Any], ranks: Ranks) -> None:
    """Score, sort, train, save, report."""
    source, data, output, widths, objective, training, _ = configs
    run_start = time.perf_counter()

    # The fine-tuned model and its task.
    ofa.check_output(output, source, ranks)
    model, tokenizer, task = ofa.load_model_and_task(source, data, seed=training.seed)
    # Fail before the work, not after.
    ofa.check_training_precision(training.precision)
    ofa.resolve_widths(model.config, widths.width_mult_list)
    ofa.plan_training(task.train, training, ranks)
    inputs = ofa.fingerprints(model, tokenizer, task)
    with ofa.open_run_folder(output, configs, ranks, inputs) as folder:
        # Sort heads and neurons by importance: then any prefix of them is a good smaller network.
        rows = ofa.importance_rows(task, widths)
        batches = ofa.evaluation_batches(rows, training.batch_size)
        importance = ofa.score_importance_once(model, batches, folder.checkpoints, ranks)
        supernet = ofa.make_supernet(model, importance, widths.width_mult_list)
        logger.info("importance from %d rows; widths:\n%s", len(rows), ofa.format_widths(supernet))
        cost = ofa.format_schedule(supernet, widths.schedule, objective.teacher_cache)
        logger.info("schedule: %s", cost)

        # On every batch the teacher answers once, and every width learns to answer the same.
        student = ofa.width_student(supernet.model, supernet.widths, widths.schedule, training.seed)
        teacher = ofa.make_teacher(model, task.train, objective.teacher_cache)
        distillation = ofa.DistillObjective(objective, regression=task.regression)
        teacher_scores = ofa.evaluate_model(model, task.dev, task.metrics, ranks=ranks)
        logger.info("teacher: %s", ofa.format_metrics(teacher_scores))
        ofa.warn_of_poor_teacher(task, teacher_scores)

        def evaluate() -> ofa.Scores:
            subnets = ofa.named_widths(supernet.widths)
            return ofa.evaluate_subnets(supernet.model, task.dev, task.metrics, subnets, ranks)

        best = ofa.train(
            ofa.Parts(student, teacher, distillation),
            task.train,
            training,
            evaluate=evaluate,
            checkpoints=folder.checkpoints,
            metrics_log=folder.metrics_log,
            ranks=ranks,
        )

        # Keep the best weights, and say what each width scores, weighs and costs.
        if ranks.is_main:
            ofa.save_supernet(supernet, folder.path, tokenizer)
            report = ofa.report_widths(supernet, best, teacher_scores["score"], tokenizer)
            more = {"teacher": teacher_scores, "widths": ofa.rows_as_dicts(report)}
            command = "run_glue_ofa"
            results = ofa.training_results(best, folder.run, run_start, command=command, **more)
            folder.finish(results)
            print(ofa.format_table(report))  # noqa: T201
            logger.info("the supernet is in %s", folder.path)


if __name__ == "__main__":
    run_script(main)
