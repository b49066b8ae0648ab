"""The table at the end of a run: score, size and speed of every width. Needs no paddle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ofa_bert.model_config import ModelConfig
from ofa_bert.safe_text import markdown
from ofa_bert.subnet import Subnet, count_macs, count_params, span
from ofa_bert.widths import width_label

SCORE = "score"
UNKNOWN = "-"


@dataclass(frozen=True)
class ReportRow:
    """What is known about one width. Metrics and scores are fractions, not percentages."""

    width_mult: float
    subnet: Subnet
    metrics: Mapping[str, float]
    """The task's own metrics by name, e.g. ``{"accuracy": 0.87, "f1": 0.85}``."""
    score: float | None
    """The one number that ranks models on the task; None when not evaluated."""
    teacher_score: float | None
    """The same of the teacher; None without one."""
    params: int
    """Parameters."""
    params_without_embeddings: int
    """Parameters of encoder, pooler and classifier."""
    macs: int
    """Multiply-accumulates of one text of ``max_seq_length`` tokens."""
    file_bytes: int | None = None
    """Size of the static graph's weights and program; None when not measured."""
    latency_ms: float | None = None
    """Median milliseconds of one text in Paddle Inference; None when not measured."""


def build_rows(
    config: ModelConfig,
    subnets: Mapping[float, Subnet],
    scores: Mapping[float, Mapping[str, float]],
    *,
    max_seq_length: int,
    teacher_score: float | None = None,
    measured: Mapping[float, tuple[int, float]] | None = None,
) -> list[ReportRow]:
    """Put together what is known about each width, widest first.

    Args:
        config: the supernet's.
        subnets: sub-network of each width.
        scores: metrics of each width; the ranking one is named ``score``.
        max_seq_length: tokens that MACs are counted for.
        teacher_score: the teacher's ``score``.
        measured: ``(file_bytes, latency_ms)`` of each width, as ``measure_sub_models`` gives it.
    """
    rows = []
    for width_mult in sorted(subnets, reverse=True):
        subnet, metrics = subnets[width_mult], dict(scores.get(width_mult, {}))
        file_bytes, latency_ms = (measured or {}).get(width_mult, (None, None))
        rows.append(
            ReportRow(
                width_mult=width_mult,
                subnet=subnet,
                score=metrics.pop(SCORE, None),
                metrics=metrics,
                teacher_score=teacher_score,
                params=count_params(config, subnet),
                params_without_embeddings=count_params(config, subnet, embeddings=False),
                macs=count_macs(config, subnet, max_seq_length),
                file_bytes=file_bytes,
                latency_ms=latency_ms,
            )
        )
    return rows


def format_table(rows: Sequence[ReportRow]) -> str:
    """Lay rows out as an aligned table that is also valid Markdown.

    Scores are percentages (correlations times 100), ``vs teacher`` is in points of the task's
    score, sizes in millions of parameters, 10^9 MACs and 10^6 bytes, and the speed-up is over the
    row of width 1.0. What is not known is ``-``.
    """
    metric_names = list(dict.fromkeys(name for row in rows for name in row.metrics))
    full = next((row.latency_ms for row in rows if row.width_mult == 1.0), None)
    columns: dict[str, Callable[[ReportRow], str]] = {
        "width": lambda row: width_label(row.width_mult),
        "heads": lambda row: span(row.subnet.num_heads),
        "neurons": lambda row: span(row.subnet.num_neurons),
        **{markdown(name): _metric_cell(name) for name in metric_names},
    }
    # With one metric, that metric is the score.
    if len(metric_names) != 1:
        columns[SCORE] = lambda row: _number(row.score, 1e2, ".2f")
    columns |= {
        "vs teacher": _difference,
        "params (M)": lambda row: _number(row.params, 1e-6, ".2f"),
        "w/o embeddings (M)": lambda row: _number(row.params_without_embeddings, 1e-6, ".2f"),
        "MACs (G)": lambda row: _number(row.macs, 1e-9, ".3f"),
        "file (MB)": lambda row: _number(row.file_bytes, 1e-6, ".1f"),
        "latency (ms)": lambda row: _number(row.latency_ms, 1, ".2f"),
        "speed-up": lambda row: _speed_up(full, row.latency_ms),
    }
    return markdown_table(list(columns), [[cell(row) for cell in columns.values()] for row in rows])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align cells to the right between pipes, with Markdown's line under the header."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    lines = [
        "| "
        + " | ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        + " |"
        for cells in [header, *rows]
    ]
    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _metric_cell(name: str) -> Callable[[ReportRow], str]:
    return lambda row: _number(row.metrics.get(name), 1e2, ".2f")


def _difference(row: ReportRow) -> str:
    if row.score is None or row.teacher_score is None:
        return UNKNOWN
    return f"{(row.score - row.teacher_score) * 100:+.2f}"


def _speed_up(full_ms: float | None, latency_ms: float | None) -> str:
    return f"{full_ms / latency_ms:.2f}x" if full_ms and latency_ms else UNKNOWN


def _number(value: float | None, factor: float, form: str) -> str:
    return UNKNOWN if value is None else format(value * factor, form)
