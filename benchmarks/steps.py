"""OFA steps of a random network, for benchmarks that time them in processes of their own.

    python -m benchmarks.steps '{"layers": 2, "rows": 8}'

serves a ``Work`` of that description. With a file named after it, it times its share of the steps
as one of the processes that ``paddle.distributed.launch`` started; the main one writes the file.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the launcher runs it as a file

from benchmarks.harness import peak_memory_mb, serve, time_runs

if TYPE_CHECKING:
    from ofa_bert.distributed import Ranks


@dataclass(frozen=True)
class Work:
    """A network and what one of its steps trains on; by default MiniLM on 32 short texts."""

    layers: int = 6
    hidden: int = 384
    heads: int = 12
    rows: int = 32
    """Texts of a step, over all processes."""
    length: int = 53
    """Tokens of each text."""
    widths: tuple[float, ...] = (1.0, 5 / 6, 2 / 3, 1 / 2)
    math_library: str = "auto"


def make_step(work: Work, ranks: Ranks | None = None) -> Callable[[], Any]:
    """Give a function that takes one optimizer step, with dropout."""
    from ofa_bert import runtime

    runtime.prepare(work.math_library)
    import numpy as np

    import ofa_bert as ofa
    from ofa_bert.data.encoded import EncodedDataset
    from ofa_bert.distributed import ALONE
    from ofa_bert.nn.bert import init_weights
    from ofa_bert.optimizer import make_optimizer
    from ofa_bert.training import train_step

    ranks = ranks or ALONE
    config = ofa.ModelConfig(
        vocab_size=30522,
        hidden_size=work.hidden,
        num_attention_heads=(work.heads,) * work.layers,
        intermediate_size=(4 * work.hidden,) * work.layers,
        head_dim=work.hidden // work.heads,
        max_position_embeddings=max(512, work.length),
    )
    teacher, student = (ofa.BertForSequenceClassification(config) for _ in range(2))
    init_weights(teacher, 0)
    init_weights(student, 1)
    widths = ofa.resolve_widths(config, work.widths)
    objective = ofa.DistillObjective(ofa.ObjectiveConfig(), regression=False)
    parts = ofa.Parts(ofa.width_student(student, widths), ofa.ModelTeacher(teacher), objective)
    generator = np.random.default_rng(0)
    tokens = work.rows * work.length
    dataset = EncodedDataset(
        input_ids=generator.integers(1, config.vocab_size, tokens).astype("int32"),
        token_type_ids=np.zeros(tokens, "int32"),
        offsets=np.arange(work.rows + 1) * work.length,
        labels=generator.integers(0, 2, work.rows),
    )
    rows_here = work.rows // ranks.size
    (batches,) = ofa.training_steps(
        dataset, batch_size=rows_here, rank=ranks.rank, world_size=ranks.size, seed=0, epoch=0
    )
    training = ofa.TrainConfig(batch_size=rows_here)
    optimizer = make_optimizer(student, [], training)
    return lambda: train_step(parts, batches, optimizer, training, 0, ranks)


def serve_steps(work: Work) -> None:
    """Answer requests for ``steps`` with their seconds, and others with the peak memory."""
    step: Callable[[], Any] | None = None

    def answer(steps: int = 0) -> Any:
        nonlocal step
        if step is None:
            step = make_step(work)
            step()  # warms up
        return time_runs(step, steps, warmup=0) if steps else peak_memory_mb()

    serve(answer)


def time_share(work: Work, path: Path, steps: int = 4) -> None:
    """Time steps as one of the launched processes; the main one writes what it found."""
    from ofa_bert import runtime

    runtime.prepare(work.math_library)
    from ofa_bert.distributed import join, launched_ranks

    ranks = launched_ranks()
    join(ranks)
    seconds = time_runs(make_step(work, ranks), steps)
    if ranks.is_main:
        path.write_text(json.dumps({"seconds": seconds, "peak MB": peak_memory_mb()}))


def read_work(text: str) -> Work:
    """Read a description in JSON; what it does not say is as by default."""
    values = json.loads(text)
    return Work(**{**values, "widths": tuple(values.get("widths", Work.widths))})


if __name__ == "__main__":
    os.environ.setdefault("GLOG_minloglevel", "2")
    if len(sys.argv) > 2:
        time_share(read_work(sys.argv[1]), Path(sys.argv[2]))
    else:
        serve_steps(read_work(sys.argv[1]))
