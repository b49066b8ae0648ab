"""What a training run says of its widths, before it and at its end."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_bert.importance import Importance
from ofa_bert.report import format_table
from ofa_bert.results import format_schedule, format_widths, report_widths
from ofa_bert.scores import Best
from ofa_bert.supernet import make_supernet
from tests.tiny import tiny_config, tiny_model, tiny_tokenizer

# Two layers, hidden size 12, 4 heads of 3, 3 classes; 60 words, 160 positions, 2 segments.


def supernet_of(widths, num_neurons=24):
    """Give a supernet for texts of 5 tokens."""
    model = tiny_model(tiny_config(num_neurons=num_neurons, max_seq_length=5))
    scores = Importance(heads=(np.arange(4.0),) * 2, neurons=(np.arange(float(num_neurons)),) * 2)
    return make_supernet(model, scores, widths)


def test_the_table_of_widths_by_hand():
    # Pooler 12*12+12, classifier 12*3+3: 195. Embeddings 222*12 + 24 = 2688. A layer: q, k, v, out
    # 4*(12*12+12) = 624, norms 48, FFN 12*20000+20000 + 20000*12+12 = 500012: 500684.
    # Full: 195 + 2688 + 2 * 500684 = 1004251. Half: q, k, v 3*(12*6+6) + out 6*12+12 = 318, norms
    # 48, FFN 250012: 195 + 2688 + 2 * 250378 = 503639.
    table = format_widths(supernet_of([0.5, 1.0], num_neurons=20_000))
    assert table.splitlines() == [
        "| width | heads (layer 0) | neurons (layer 0) | params (M) |",
        "|------:|----------------:|------------------:|-----------:|",
        "|   1.0 |          4 of 4 |    20000 of 20000 |       1.00 |",
        "|   0.5 |          2 of 4 |    10000 of 20000 |       0.50 |",
    ]


@pytest.mark.parametrize(
    ("schedule", "share"), [("all", "1.00"), ("sandwich", "0.78"), ("random-1", "0.34")]
)
def test_the_share_of_a_schedule_by_hand(schedule, share):
    # Multiply-accumulates of 5 tokens: 2 layers of 5 * (4*12*12 + 2*12*24) + 2*5*5*12 = 6360, once
    # 12*12 + 12*3 = 180: 12900 at full width. 9720, 6540 and 3360 at 3/4, 1/2 and 1/4.
    # Each step has the teacher's 12900 and three times the widths': all 12900 + 3 * 32520 = 110460,
    # sandwich 12900 + 3 * (12900 + 3360 + (9720 + 6540) / 2) = 86070,
    # one of four 12900 + 3 * 32520 / 4 = 37290.
    supernet = supernet_of([1.0, 0.75, 0.5, 0.25])
    expected = f"{schedule}, {share} of the matrix products of all widths"
    assert format_schedule(supernet, schedule) == expected


def test_the_report_of_a_run_by_hand(tmp_path):
    scores = {
        "width_0.5": {"accuracy": 0.7, "f1": 0.6, "score": 0.65},
        "width_1.0": {"accuracy": 0.9, "f1": 0.8, "score": 0.85},
    }
    rows = report_widths(
        supernet_of([1.0, 0.5]), Best(3, 0.75, scores), 0.875, tiny_tokenizer(tmp_path)
    )
    full, half = rows
    assert (full.width_mult, half.width_mult) == (1.0, 0.5)
    assert full.metrics == {"accuracy": 0.9, "f1": 0.8}
    assert (full.score, half.score) == (0.85, 0.65)
    assert (full.teacher_score, half.teacher_score) == (0.875, 0.875)
    # As above; the FFN of a layer is 12*24+24 + 24*12+12 = 612, or 12*12+12 + 12*12+12 = 312.
    assert (full.params, half.params) == (195 + 2688 + 2 * 1284, 195 + 2688 + 2 * 678)
    assert (full.macs, half.macs) == (12900, 6540)
    for row in rows:
        assert row.file_bytes > 4 * row.params
        assert row.latency_ms > 0.0
    table = [line.strip("|").split("|") for line in format_table(rows).splitlines()]
    assert [cell.strip() for cell in table[0][5:7]] == ["score", "vs teacher"]
    # Points: 85 - 87.5 and 65 - 87.5.
    assert [line[6].strip() for line in table[2:]] == ["-2.50", "-22.50"]
