"""results.json and the final table of a training run."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ofa_bert import runtime
from ofa_bert.checkpoint.save import WEIGHTS_FILE
from ofa_bert.data.tokenizer import Tokenizer
from ofa_bert.deploy import versions
from ofa_bert.distill.schedule import cost_share
from ofa_bert.distill.student import width_name
from ofa_bert.durable import sha256
from ofa_bert.export.measure import measure_sub_models
from ofa_bert.report import ReportRow, build_rows, markdown_table
from ofa_bert.run_identity import environment
from ofa_bert.scores import Best
from ofa_bert.subnet import count_macs, count_params
from ofa_bert.supernet import Supernet
from ofa_bert.widths import width_label


def format_widths(supernet: Supernet) -> str:
    """Lay out what each width resolves to."""
    config = supernet.model.config
    rows = [
        [
            width_label(width_mult),
            f"{subnet.num_heads[0]} of {config.num_attention_heads[0]}",
            f"{subnet.num_neurons[0]} of {config.intermediate_size[0]}",
            f"{count_params(config, subnet) / 1e6:.2f}",
        ]
        for width_mult, subnet in supernet.widths.items()
    ]
    header = ["width", "heads (layer 0)", "neurons (layer 0)", "params (M)"]
    return markdown_table(header, rows)


def format_schedule(supernet: Supernet, schedule: str, teacher_cache: str = "none") -> str:
    """Say what a schedule trains, and its expected share of the matrix products of ``all``.

    Args:
        supernet: the teacher is of its full size.
        schedule: as in ``schedule.chosen``.
        teacher_cache: as in ``make_teacher``; answers that are kept cost a step nothing.
    """
    config = supernet.model.config
    length = config.max_seq_length or config.max_position_embeddings
    macs = [count_macs(config, subnet, length) for subnet in supernet.widths.values()]
    share = cost_share(schedule, macs, macs[0] if teacher_cache == "none" else 0)
    return f"{schedule}, {share:.2f} of the matrix products of all widths"


def report_widths(
    supernet: Supernet, best: Best, teacher_score: float, tokenizer: Tokenizer
) -> list[ReportRow]:
    """Measure every width as it would be deployed, and set its scores beside.

    The scores are those of the weights that are kept: one step for all widths.
    """
    config = supernet.model.config
    max_seq_length = config.max_seq_length or config.max_position_embeddings
    by_name = {width_name(width_mult): width_mult for width_mult in supernet.widths}
    return build_rows(
        config,
        supernet.widths,
        {by_name[name]: metrics for name, metrics in best.scores.items()},
        max_seq_length=max_seq_length,
        teacher_score=teacher_score,
        measured=measure_sub_models(supernet.model, supernet.widths, tokenizer, max_seq_length),
    )


def training_results(
    best: Best, run: Mapping[str, Any], run_start: float, *, command: str, **more: Any
) -> dict[str, Any]:
    """Put together what results.json says of a run, with all that is needed to run it again.

    Args:
        best: scores of the weights that are kept, and each sub-network's own best.
        run: what it started from, of its folder.
        run_start: ``time.perf_counter()`` at the beginning of this process.
        command: which command it was, as ``python -m ofa_bert rerun`` knows it.
        more: further entries.
    """
    weights = Path(run["settings"]["output_dir"]) / WEIGHTS_FILE
    return {
        "kept_step": best.step,
        "mean_score": best.mean_score,
        "scores": best.scores,
        "own_best": best.own,
        **more,
        "wall_seconds": round(time.perf_counter() - run_start, 1),
        "peak_memory_mb": round(peak_memory_mb()),
        "runtime": runtime.describe(),
        "versions": versions(),
        "command": command,
        "settings": run["settings"],
        "started_in": run["started_in"],
        "environment": environment(),
        "inputs": run["files"],
        "weights_sha256": sha256(weights),
    }


def rows_as_dicts(rows: Sequence[ReportRow]) -> list[Mapping[str, Any]]:
    """Give the rows of a report as plain JSON values."""
    return [asdict(row) for row in rows]


def peak_memory_mb() -> float:
    """Give the most memory this process has held, in 10^6 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
