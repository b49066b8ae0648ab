r"""What the predecessor's first step takes from the development set, shown with our own training.

The predecessor scores importance on the development set, with its labels, and does not clear the
gradients: they add up over all batches and become part of the first optimizer step. That step is a
large one: AdamW divides by the gradient's size and its momentum goes on for steps. This trains all
widths twice with the same seed, without clipping as the predecessor does, once with those
gradients left in place, and prints the accuracies of the last step side by side.

    python -m benchmarks.leak --model out/SST-2 --task_name SST-2 \
      --data_dir ../shared/data/glue/SST-2
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import ofa_bert as ofa
from ofa_bert.config import DataConfig, ObjectiveConfig, SourceConfig, SupernetConfig, TrainConfig

WIDTHS = (1.0, 5 / 6, 2 / 3, 1 / 2)
BATCH_SIZE = 32


def main() -> None:
    """Train with and without the leak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="directory of a fine-tuned model")
    parser.add_argument("--task_name", required=True)
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--max_train_examples", type=int, default=-1)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    scores = {leak: train(options, leak) for leak in (True, False)}
    print(f"{Path(options.model).name}, last step's accuracy of each width")
    for leak, metrics in scores.items():
        figures = "  ".join(f"{name} {values['accuracy']:.4f}" for name, values in metrics.items())
        print(f"{'with' if leak else 'without'} development gradients: {figures}")


def train(options: argparse.Namespace, leak: bool) -> ofa.Scores:
    """Train one epoch of all widths at 2e-5; the scores of the last step."""
    source = SourceConfig(model_name_or_path=options.model)
    data = DataConfig(
        task_name=options.task_name,
        data_dir=options.data_dir,
        max_train_examples=options.max_train_examples,
    )
    model, _, task = ofa.load_model_and_task(source, data)
    rows = ofa.importance_rows(task, SupernetConfig(importance_split="dev"))
    batches = list(ofa.evaluation_batches(rows, BATCH_SIZE))
    importance = ofa.score_importance(model, batches)
    supernet = ofa.make_supernet(model, importance, WIDTHS)
    if leak:
        leave_gradients(model, supernet.model, batches)
    objective = ofa.DistillObjective(ObjectiveConfig(), regression=task.regression)
    subnets = ofa.named_widths(supernet.widths)
    every_score: list[ofa.Scores] = []

    def evaluate() -> ofa.Scores:
        every_score.append(ofa.evaluate_subnets(supernet.model, task.dev, task.metrics, subnets))
        return every_score[-1]

    student = ofa.width_student(supernet.model, supernet.widths)
    parts = ofa.Parts(student, ofa.ModelTeacher(model), objective)
    config = TrainConfig(
        batch_size=BATCH_SIZE,
        learning_rate=2e-5,
        num_train_epochs=1,
        max_grad_norm=0.0,
        seed=options.seed,
        save_steps=10**9,
    )
    ofa.train(parts, task.train, config, evaluate=evaluate)
    return every_score[-1]


def leave_gradients(model: Any, student: Any, batches: list[Any]) -> None:
    """Give the student the summed gradients of the labels' loss, as they stand before sorting.

    The predecessor sorts the weights afterwards and their gradients not.
    """
    import paddle.nn.functional as F

    model.eval()
    for batch in batches:
        output = model(batch.input_ids, batch.token_type_ids, batch.attention_mask)
        F.cross_entropy(output.logits, batch.labels).backward()
    for target, scored in zip(student.parameters(), model.parameters(), strict=True):
        if scored.grad is not None:
            target.grad = scored.grad.clone()
    model.clear_gradients()


if __name__ == "__main__":
    main()
