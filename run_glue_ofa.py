"""Turn a fine-tuned BERT into a supernet and train all its widths at once.

The method is DynaBERT's (arXiv:2004.04037), first stage, with the fine-tuned model as teacher:
score heads and neurons, sort them, train every width on every batch to answer as the teacher does.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import ofa_bert as ofa
from ofa_bert.arguments import parse_args
from ofa_bert.command import run_command, run_on_devices
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


def compress(configs: list, ranks: Ranks) -> None:
    """Score, sort, train, evaluate, save, report."""
    source, data_config, output, supernet_config, objective_config, train_config, _ = configs
    run_start = time.perf_counter()

    # The fine-tuned model, its task, and a place for the result.
    model, tokenizer, task = ofa.load_model_and_task(source, data_config)
    ofa.resolve_widths(model.config, supernet_config.width_mult_list)  # fail before the work
    folder = ofa.open_run_folder(output, configs, ranks)

    # Sort heads and neurons, so that any prefix of them is a good smaller network.
    rows = ofa.importance_rows(task, supernet_config)
    batches = ofa.evaluation_batches(rows, train_config.batch_size)
    importance = ofa.score_importance(model, batches)
    supernet = ofa.make_supernet(model, importance, supernet_config.width_mult_list)
    logger.info("scored %d rows; the widths are\n%s", len(rows), ofa.format_widths(supernet))

    # For each batch: the teacher once, then every width learns to answer as it did.
    parts = ofa.Parts(
        student=ofa.width_student(supernet.model, supernet.widths),
        teacher=ofa.ModelTeacher(model),
        objective=ofa.DistillObjective(objective_config, regression=task.regression),
    )
    teacher_scores = ofa.evaluate_model(model, task.dev, task.metrics, ranks=ranks)
    best = ofa.train(
        parts,
        task.train,
        train_config,
        evaluate=lambda: ofa.evaluate_subnets(
            supernet.model, task.dev, task.metrics, parts.student.subnets(0), ranks
        ),
        checkpoints=folder.checkpoints,
        metrics_log=folder.metrics_log,
        ranks=ranks,
    )

    # The best weights, with what each width scores, weighs and costs.
    if ranks.is_main:
        supernet = ofa.with_length(supernet, data_config.max_seq_length)
        ofa.save_supernet(supernet, folder.path, tokenizer)
        rows = ofa.report_widths(supernet, best, teacher_scores, tokenizer)
        folder.finish(ofa.training_results(best, teacher_scores, rows, configs, run_start))
        print(ofa.format_table(rows))  # noqa: T201
        logger.info("supernet saved in %s", folder.path)


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
