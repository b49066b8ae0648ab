"""The training loop. Fine-tuning, OFA and distillation differ in what they hand to it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import paddle
from tqdm import tqdm

from ofa_bert import runtime
from ofa_bert.checkpointing import Checkpoints
from ofa_bert.config import TrainConfig
from ofa_bert.data.batches import (
    SMALLER_BATCHES,
    Batch,
    memory_told,
    steps_per_epoch,
    training_steps,
)
from ofa_bert.data.encoded import EncodedDataset
from ofa_bert.distill.protocols import Objective, Student, Teacher
from ofa_bert.distributed import (
    ALONE,
    Ranks,
    Terms,
    largest,
    share_parameters,
    sum_gradients,
    sum_terms,
    wait_for_all,
)
from ofa_bert.errors import InputError
from ofa_bert.metrics_log import MetricsLog
from ofa_bert.nn.dropout import dropping, reseed
from ofa_bert.optimizer import StepPlan, learning_rate, make_optimizer, plan_steps
from ofa_bert.precision import check_training_precision, forward_in, in_float32
from ofa_bert.rules import require
from ofa_bert.scores import Best, Scores, format_metrics
from ofa_bert.stopping import Stopped, StopRequest, deferred
from ofa_bert.training_state import Trained

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """The three parts a loop trains with."""

    student: Student
    teacher: Teacher
    objective: Objective

    def parameters(self) -> list[paddle.Tensor]:
        """Give what is trained: the student, and what the objective owns."""
        owned = [parameter for _, parameter in self.objective.named_parameters()]
        return [*self.student.model.parameters(), *owned]


def train(
    parts: Parts,
    dataset: EncodedDataset,
    config: TrainConfig,
    *,
    evaluate: Callable[[], Scores],
    checkpoints: Checkpoints | None = None,
    metrics_log: MetricsLog | None = None,
    ranks: Ranks = ALONE,
) -> Best:
    """Train every sub-network of a student; in the main process, end with its best weights.

    Everything random in step ``n`` is a function of the seed, ``n`` and the process alone, so a
    resumed run goes on exactly as the one that was stopped.

    Args:
        parts: student, teacher and objective.
        dataset: labelled training rows.
        config: batch size, epochs, learning rate, and so on.
        evaluate: gives the metrics of each sub-network; called every ``save_steps`` and at the
            end.
        checkpoints: where to save and to resume from; None keeps the best weights in memory.
        metrics_log: gets a line every ``logging_steps`` and at the end.
        ranks: this process among those that train together.

    Returns:
        The best scores and their step.

    Raises:
        InputError: if the loss or a score becomes NaN or infinite, memory does not suffice, or a
            checkpoint cannot be written; names the step. If there is no row, the warm-up takes the
            whole run, or the device does not train in the precision.
        Stopped: after SIGINT or SIGTERM, when the step is done and saved.
    """
    check_training_precision(config.precision)
    model, checkpoints = parts.student.model, checkpoints or Checkpoints(None)
    metrics_log = metrics_log if metrics_log and ranks.is_main else MetricsLog(None)
    optimizer = make_optimizer(model, parts.objective.named_parameters(), config)
    trained = Trained(model, parts.objective, optimizer, metrics_log)
    plan = plan_training(dataset, config, ranks)
    start = largest(checkpoints.newest() if ranks.is_main else 0, ranks)
    best = checkpoints.restore(start, trained)
    # Read or made anew in each process, they might differ in a bit, and would go on differing.
    share_parameters(parts.parameters(), ranks)
    logger.info(
        "%d steps on %s, %s", plan.total_steps, paddle.device.get_device(), runtime.describe()
    )

    steps = _steps_from(start, plan, dataset, config, ranks)
    step = start  # where nothing is left to do
    bar = tqdm(total=plan.total_steps, initial=start, unit="step", disable=not ranks.is_main)
    # An error closes the bar too.
    with bar, dropping(model, config.dropout), deferred(ranks.size > 1) as stop:
        for step, micro_batches in steps:
            step_start = time.perf_counter()
            optimizer.set_lr(learning_rate(step - 1, plan, config.learning_rate))
            with memory_told(micro_batches, f"taking step {step}", SMALLER_BATCHES):
                terms = train_step(parts, micro_batches, optimizer, config, step, ranks)
            _check_finite(terms, step, micro_batches, checkpoints)
            tokens = micro_batches[0].step_tokens if micro_batches else 0
            metrics_log.add(terms, tokens, time.perf_counter() - step_start)
            bar.update()
            is_last = step == plan.total_steps
            if ranks.is_main and (step % config.logging_steps == 0 or is_last):
                line = metrics_log.write(step, step / plan.steps_per_epoch, optimizer.get_lr())
                _show(line, bar)
            evaluated = step % config.save_steps == 0 or is_last
            if evaluated:
                scores = _evaluate_and_log(step, evaluate, checkpoints)
                best = best.update(step, scores)
            stopped_by = largest(stop.signum, ranks)
            if ranks.is_main and (evaluated or stopped_by):
                checkpoints.save(step, best, trained)
            if stopped_by:
                break
        _end_if_stopped(stop, f"step {step} is done, {checkpoints.how_to_continue}", ranks)
    if ranks.is_main:
        checkpoints.load_best(best, model)
    return best


def plan_training(dataset: EncodedDataset, config: TrainConfig, ranks: Ranks = ALONE) -> StepPlan:
    """Count the steps of a run over ``dataset``.

    Raises:
        InputError: if there is no row, or the warm-up takes the whole run.
    """
    require(len(dataset) > 0, "training needs at least one row; got none")
    return plan_steps(steps_per_epoch(len(dataset), **_split(config, ranks)), config)


def train_step(
    parts: Parts,
    micro_batches: list[Batch],
    optimizer: paddle.optimizer.Optimizer,
    config: TrainConfig,
    step: int,
    ranks: Ranks = ALONE,
) -> Terms:
    """Take one optimizer step with the summed gradients of every sub-network."""
    parts.student.model.train()
    reseed(parts.student.model, _seed_of(config.seed, step, ranks.rank))
    sums: dict[str, dict[str, paddle.Tensor]] = {}
    for batch in micro_batches:
        teacher_output = parts.teacher(batch)  # once per batch, not once per width
        for name, subnet in parts.student.subnets(step).items():
            with forward_in(config.precision):
                student_output = in_float32(parts.student(batch, subnet))
            terms = parts.objective(student_output, teacher_output, batch, subnet)
            paddle.add_n(list(terms.values())).backward()  # gradients of all widths add up
            total = sums.setdefault(name, {})
            for term, value in terms.items():
                total[term] = total.get(term, 0.0) + value.detach()
    sum_gradients(parts.parameters(), ranks)
    optimizer.step()
    optimizer.clear_grad()
    return sum_terms(_read(sums), ranks)


def _read(sums: dict[str, dict[str, paddle.Tensor]]) -> Terms:
    """Read all losses at once: a step waits for its device once, not once for each of them."""
    tensors = [value for values in sums.values() for value in values.values()]
    numbers = iter(paddle.stack(tensors).tolist() if tensors else [])
    return {name: {term: next(numbers) for term in values} for name, values in sums.items()}


def _steps_from(
    start: int, plan: StepPlan, dataset: EncodedDataset, config: TrainConfig, ranks: Ranks
) -> Iterator[tuple[int, list[Batch]]]:
    """Give each optimizer step's number, from 1, and its batches, after the first ``start``."""
    first_epoch, skip = divmod(start, plan.steps_per_epoch)
    step = start
    for epoch in range(first_epoch, math.ceil(plan.total_steps / plan.steps_per_epoch)):
        steps = training_steps(
            dataset,
            **_split(config, ranks),
            rank=ranks.rank,
            seed=config.seed,
            epoch=epoch,
            skip=skip,
        )
        for micro_batches in steps:
            if step == plan.total_steps:
                return
            step += 1
            yield step, micro_batches
        skip = 0


def _split(config: TrainConfig, ranks: Ranks) -> dict[str, int]:
    return {
        "batch_size": config.batch_size,
        "accumulation": config.gradient_accumulation_steps,
        "world_size": ranks.size,
    }


def _seed_of(seed: int, step: int, rank: int) -> int:
    """Give each step and process its own dropout; the factors only keep neighbours apart."""
    return (seed * 1_000_003 + step * 1_009 + rank) % (2**31)


def _check_finite(
    terms: Terms, step: int, micro_batches: list[Batch], checkpoints: Checkpoints
) -> None:
    for name, values in terms.items():
        for term, value in values.items():
            if not math.isfinite(value):
                rows = [int(i) for batch in micro_batches for i in batch.indices]
                raise InputError(
                    f"loss {term} of {name} is {value} at step {step} (training rows "
                    f"{rows[:8]}{'...' if len(rows) > 8 else ''}); "
                    f"{checkpoints.what_is_kept}; lower --learning_rate or add --warmup_steps"
                )


def _show(line: dict[str, Any], bar: tqdm) -> None:
    bar.set_postfix(loss=f"{line['loss']:.4g}", tokens_per_s=line["tokens_per_second"])


def _evaluate_and_log(
    step: int, evaluate: Callable[[], Scores], checkpoints: Checkpoints
) -> Scores:
    """Evaluate; an error names the step, and says what of the run there is."""
    try:
        scores = evaluate()
    except InputError as error:
        raise InputError(f"after step {step}: {error}; {checkpoints.what_is_kept}") from None
    _check_scores(scores, step, checkpoints)
    for name, metrics in scores.items():
        logger.info("step %d, %s: %s", step, name, format_metrics(metrics))
    return scores


def _check_scores(scores: Scores, step: int, checkpoints: Checkpoints) -> None:
    """Raise ``InputError`` for a score that is no number: no step would be better or worse."""
    for name, metrics in scores.items():
        if not math.isfinite(metrics["score"]):
            raise InputError(
                f"score of {name} is {metrics['score']} at step {step}: its answers overflow; "
                f"{checkpoints.what_is_kept}; lower --learning_rate or add --warmup_steps"
            )


def _end_if_stopped(stop: StopRequest, message: str, ranks: Ranks) -> None:
    """Raise ``Stopped`` in every process; also for a signal that came while a step was saved."""
    stopped_by = largest(stop.signum, ranks)
    if stopped_by:
        wait_for_all(ranks)  # The launcher ends them all when the first one ends.
        raise Stopped(stopped_by, message)
