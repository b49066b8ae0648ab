from __future__ import annotations

import pytest

from ofa_bert.model_config import ModelConfig
from ofa_bert.report import build_rows, format_table, markdown_table
from ofa_bert.subnet import subnet_at_width

# Two layers, hidden size 4, 2 heads of 2, 8 neurons, 2 classes.
CONFIG = ModelConfig(
    vocab_size=10,
    hidden_size=4,
    num_attention_heads=(2, 2),
    intermediate_size=(8, 8),
    head_dim=2,
    max_position_embeddings=6,
)
SUBNETS = {width: subnet_at_width(CONFIG, width) for width in (1.0, 0.5)}
SCORES = {
    1.0: {"accuracy": 0.8, "f1": 0.7, "score": 0.75},
    0.5: {"accuracy": 0.7, "f1": 0.65, "score": 0.675},
}


def rows(**changes):
    return build_rows(
        CONFIG,
        SUBNETS,
        changes.pop("scores", SCORES),
        **{"max_seq_length": 5, "teacher_score": 0.77, **changes},
    )


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_params_and_macs_are_those_counted_by_hand():
    full, half = rows()
    # Pooler 4*4+4 and classifier 4*2+2: 30. A layer: q, k, v, out 4*(4*4+4) = 80, FFN
    # 4*8+8 + 8*4+4 = 76, two norms 16: 172. Embeddings (10+6+2)*4 + 8 = 80.
    assert full.params_without_embeddings == 30 + 2 * 172
    assert full.params == 30 + 2 * 172 + 80
    # One head: q, k, v 3*(4*2+2) = 30, out 2*4+4 = 12; 4 neurons: 4*4+4 + 4*4+4 = 40; norms 16.
    assert half.params == 30 + 2 * (30 + 12 + 40 + 16) + 80
    # A token: 4*(4*4) + 2*(4*8) = 128; scores and contexts of 5 tokens 2*5*5*4 = 200; once
    # 4*4 + 4*2 = 24.
    assert full.macs == 2 * (5 * 128 + 200) + 24
    assert half.macs == 2 * (5 * (4 * 4 * 2 + 2 * 4 * 4) + 2 * 25 * 2) + 24


def test_rows_are_widest_first_and_keep_the_score_apart():
    full, half = rows()
    assert (full.width_mult, half.width_mult) == (1.0, 0.5)
    assert full.metrics == {"accuracy": 0.8, "f1": 0.7}
    assert half.score == 0.675


def test_the_table_says_it_all():
    table = cells(format_table(rows(measured={1.0: (2_500_000, 6.0), 0.5: (1_240_000, 4.0)})))
    assert table[0] == [
        *("width", "heads", "neurons", "accuracy", "f1", "score", "vs teacher", "params (M)"),
        *("w/o embeddings (M)", "MACs (G)", "file (MB)", "latency (ms)", "speed-up"),
    ]
    assert table[2] == [
        *("1.0", "2", "8", "80.00", "70.00", "75.00", "-2.00", "0.00"),
        *("0.00", "0.000", "2.5", "6.00", "1.00x"),
    ]
    assert table[3] == [
        *("0.5", "1", "4", "70.00", "65.00", "67.50", "-9.50", "0.00"),
        *("0.00", "0.000", "1.2", "4.00", "1.50x"),
    ]


def test_what_is_not_known_is_a_dash():
    table = cells(format_table(rows(scores={}, teacher_score=None)))
    assert table[2] == ["1.0", "2", "8", "-", "-", "0.00", "0.00", "0.000", "-", "-", "-"]


def test_one_metric_is_not_shown_twice():
    table = cells(format_table(rows(scores={1.0: {"mcc": 0.5, "score": 0.5}})))
    assert table[0][3:5] == ["mcc", "vs teacher"]
    assert table[2][3:5] == ["50.00", "-27.00"]
    assert table[3][3:5] == ["-", "-"]


def test_layers_of_different_sizes_are_a_span():
    config = ModelConfig(
        vocab_size=9,
        hidden_size=4,
        num_attention_heads=(2, 4),
        intermediate_size=(8, 6),
        head_dim=2,
    )
    subnets = {1.0: subnet_at_width(config, 1.0)}
    table = cells(format_table(build_rows(config, subnets, {}, max_seq_length=5)))
    assert table[2][1:3] == ["2-4", "6-8"]


def test_a_speed_up_needs_the_full_width():
    table = cells(format_table(rows(measured={0.5: (1, 4.0)})))
    assert [row[-1] for row in table[2:]] == ["-", "-"]


def test_the_table_is_aligned_markdown():
    expected = "| width |  x |\n|------:|---:|\n|   1.0 |  9 |\n|   0.5 | 10 |"
    assert markdown_table(["width", "x"], [["1.0", "9"], ["0.5", "10"]]) == expected


@pytest.mark.parametrize("measured", [None, {}, {1.0: (10, 1.0), 0.5: (5, 0.5)}])
def test_all_lines_have_one_length(measured):
    assert len({len(line) for line in format_table(rows(measured=measured)).splitlines()}) == 1
