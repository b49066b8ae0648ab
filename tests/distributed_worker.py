"""What each process of test_distributed.py does; run by ``paddle.distributed.launch``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ofa_bert import runtime

runtime.prepare()

import paddle  # noqa: E402

from ofa_bert.checkpointing import Checkpoints  # noqa: E402
from ofa_bert.config import ObjectiveConfig, OutputConfig, TrainConfig  # noqa: E402
from ofa_bert.data.batches import evaluation_batches  # noqa: E402
from ofa_bert.distill.objective import DistillObjective  # noqa: E402
from ofa_bert.distill.student import width_student  # noqa: E402
from ofa_bert.distill.teacher import ModelTeacher  # noqa: E402
from ofa_bert.distributed import Ranks, join, launched_ranks  # noqa: E402
from ofa_bert.evaluate import evaluate_subnets, predict_logits  # noqa: E402
from ofa_bert.run_folder import open_run_folder  # noqa: E402
from ofa_bert.run_importance import score_importance_once  # noqa: E402
from ofa_bert.subnet import resolve_widths  # noqa: E402
from ofa_bert.training import Parts, train  # noqa: E402
from ofa_bert.training_state import model_arrays  # noqa: E402
from tests.tiny import randomise, tiny_config, tiny_dataset, tiny_model  # noqa: E402

STEP_ROWS, STEPS = 8, 5
CONFIG = tiny_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
WIDTHS = resolve_widths(CONFIG, (1.0, 0.5))


def student_model(rank=0):
    model = tiny_model(CONFIG)
    randomise(model, seed=5 + rank)
    return model


def distillation(student, **changes):
    objective = DistillObjective(ObjectiveConfig(**changes), regression=False)
    return Parts(student, ModelTeacher(tiny_model(CONFIG)), objective)


def work(folder: Path, ranks: Ranks) -> None:
    """Train a supernet for a few steps of ``STEP_ROWS`` rows in all, and note what came of it.

    What another process than the main one begins with is other, and must not count.
    """
    student = width_student(student_model(ranks.rank), WIDTHS)
    config = TrainConfig(
        batch_size=STEP_ROWS // ranks.size,
        learning_rate=1e-2,
        # Gradients that are rounding noise (of the key biases) must not become whole steps.
        adam_epsilon=1e-4,
        max_steps=STEPS,
        logging_steps=1,
    )
    dev = tiny_dataset(9, seed=2)

    def evaluate():
        subnets = student.subnets(1)
        return evaluate_subnets(student.model, {"dev": dev}, ("accuracy",), subnets, ranks)

    class Watched(Checkpoints):
        def save(self, *args, **kwargs):
            super().save(*args, **kwargs)
            (folder / f"saved_by_{ranks.rank}").touch()

    with open_run_folder(OutputConfig(str(folder / "run")), [config], ranks) as run:
        rows = evaluation_batches(importance_rows(ranks.rank), 4)
        importance = score_importance_once(tiny_model(CONFIG), rows, run.checkpoints, ranks)
        best = train(
            distillation(student),
            # 8, 8 and 1: in the last step of an epoch there is nothing for the second process.
            tiny_dataset(17),
            config,
            evaluate=evaluate,
            checkpoints=Watched(run.path / "checkpoints"),
            metrics_log=run.metrics_log,
            ranks=ranks,
        )
    # Batches of 2: five of them, the last of one row, for two processes.
    logits = predict_logits(student.model, dev, batch_size=2, ranks=ranks)
    np.savez(
        folder / f"process_{ranks.rank}.npz",
        **model_arrays(student.model),
        logits=logits,
        best=[best.step, best.mean_score],
        processes_here=runtime.processes_here(),
    )
    np.savez(folder / f"heads_{ranks.rank}.npz", *importance.heads)
    np.savez(folder / f"without_logits_{ranks.rank}.npz", **trained_without_logits(ranks))


def importance_rows(rank):
    return tiny_dataset(12, seed=10 + rank)


def trained_without_logits(ranks: Ranks):
    """Train with decay where no loss looks at the logits: pooler and classifier learn nothing.

    On one row a step: the second process never has any.
    """
    student = width_student(student_model(), WIDTHS)
    config = TrainConfig(learning_rate=1e-2, adam_epsilon=1e-4, weight_decay=0.5, max_steps=2)
    train(
        distillation(student, lambda_logit=0.0),
        tiny_dataset(1),
        config,
        evaluate=lambda: {"full": {"score": 0.5}},
        ranks=ranks,
    )
    return model_arrays(student.model)


if __name__ == "__main__":
    paddle.set_device("cpu")
    this_one = launched_ranks()
    join(this_one)
    work(Path(sys.argv[1]), this_one)
