"""What an export takes from the run it exports: rows to compare, scores for the card."""

from __future__ import annotations

import dataclasses
import json
import logging

import pytest

from ofa_bert.config import DataConfig, ExportConfig
from ofa_bert.errors import InputError
from ofa_bert.export.model_card import CardFacts
from ofa_bert.export.source import card_facts, export_places, parity_rows
from ofa_bert.subnet import subnet_at_width
from tests.tiny import tiny_config, tiny_tokenizer

CONFIG = tiny_config(num_classes=2, labels=("bad", "good"))
ROWS = ["a\tb\tlabel", "w0 w1\tw2\tgood", "w3\tw4 w5s w6\tbad", "w7\tw8\tgood"]
# In the vocabulary [CLS], [SEP] and ##s are 2, 3 and 5, and w0 is 7. Cut to 7 tokens, the second
# row loses w6.
FIRST = ([2, 7, 8, 3, 9, 3], [0, 0, 0, 0, 1, 1])
SECOND = ([2, 10, 3, 11, 12, 5, 3], [0, 0, 0, 1, 1, 1, 1])
THIRD = ([2, 14, 3, 15, 3], [0, 0, 0, 1, 1])


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Settings of three labelled pairs."""
    monkeypatch.setenv("OFA_BERT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "dev.tsv").write_text("\n".join(ROWS) + "\n")
    return DataConfig(
        task_name="own",
        dev_file=str(tmp_path / "dev.tsv"),
        text_columns=("a", "b"),
        label_column="label",
        max_seq_length=7,
    )


def padded(*rows):
    """Pad the ids and the segments of rows to the first, the longest."""
    longest = len(rows[0][0])
    return tuple([[*row[i], *[0] * (longest - len(row[i]))] for row in rows] for i in (0, 1))


@pytest.mark.parametrize(("num_rows", "rows"), [(16, (SECOND, FIRST, THIRD)), (2, (SECOND, FIRST))])
def test_parity_rows_are_those_of_the_dev_set(data, tmp_path, caplog, num_rows, rows):
    with caplog.at_level(logging.WARNING):
        batches, rows_are = parity_rows(data, CONFIG, tiny_tokenizer(tmp_path), num_rows)
    ((input_ids, token_type_ids),) = batches
    assert rows_are == "rows of the dev set"
    assert (input_ids.tolist(), token_type_ids.tolist()) == padded(*rows)
    assert caplog.text == ""


def test_parity_rows_are_random_where_there_is_no_dev_set(data, tmp_path, caplog):
    (tmp_path / "dev.tsv").unlink()
    with caplog.at_level(logging.WARNING):
        batches, rows_are = parity_rows(data, CONFIG, tiny_tokenizer(tmp_path))
    assert rows_are == "random rows"
    assert "parity is checked on random ids, not on the dev set: " in caplog.text
    assert "dev.tsv" in caplog.text
    # 16 lengths from 7 down to 1: 7, 6.6, 6.2, 5.8, ...
    lengths = [(input_ids != 0).sum(1).tolist() for input_ids, _ in batches]
    assert lengths == [[7, 7, 6, 6, 5, 5, 5, 4], [4, 3, 3, 3, 2, 2, 1, 1]]
    assert not any(token_type_ids.any() for _, token_type_ids in batches)


def test_parity_rows_that_are_required_must_be_there(data, tmp_path):
    (tmp_path / "dev.tsv").unlink()
    with pytest.raises(InputError, match=r"dev\.tsv"):
        parity_rows(data, CONFIG, tiny_tokenizer(tmp_path), required=True)


def run_with(tmp_path, results):
    """Write the results of a run; give its directory."""
    folder = tmp_path / "sst2_ofa"
    folder.mkdir()
    if results is not None:
        (folder / "results.json").write_text(json.dumps(results))
    return folder


def sizes_at(width_mult):
    return dataclasses.asdict(subnet_at_width(CONFIG, width_mult))


FULL = {
    "width_mult": 1.0,
    "subnet": sizes_at(1.0),
    "metrics": {"accuracy": 0.9, "f1": 0.8},
    "score": 0.85,
    "teacher_score": 0.875,
    "latency_ms": 4.5,
}
HALF = {
    "width_mult": 0.5,
    "subnet": sizes_at(0.5),
    "metrics": {"accuracy": 0.75},
    "teacher_score": None,
    "latency_ms": None,
}


@pytest.mark.parametrize(
    ("width_mult", "facts"),
    [
        (1.0, CardFacts("sst2_ofa", {"accuracy": 0.9, "f1": 0.8}, 0.875, 4.5, 64)),
        (0.5, CardFacts("sst2_ofa", {"accuracy": 0.75}, None, None, 64)),
        (0.25, CardFacts("sst2_ofa", {}, None, None)),  # was not trained
    ],
)
def test_the_card_has_the_facts_of_its_width(tmp_path, width_mult, facts):
    folder = run_with(tmp_path, {"widths": [FULL, HALF], "settings": {"max_seq_length": 64}})
    subnet = subnet_at_width(CONFIG, width_mult)
    assert card_facts(folder, subnet) == facts
    assert card_facts(str(folder), subnet) == facts


@pytest.mark.parametrize("results", [None, {"scores": {"full": {"accuracy": 0.9}}}])
def test_the_card_of_a_run_that_scored_no_widths_has_its_source_alone(tmp_path, results):
    found = card_facts(run_with(tmp_path, results), subnet_at_width(CONFIG, 1.0))
    assert found == CardFacts("sst2_ofa", {}, None, None)


@pytest.mark.parametrize(("inside", "path"), [("", "."), ("data", ".."), ("", "../sst2_ofa")])
def test_the_source_of_a_card_is_the_name_of_the_directory(tmp_path, monkeypatch, inside, path):
    folder = run_with(tmp_path, {"widths": [FULL]})
    (folder / "data").mkdir()
    monkeypatch.chdir(folder / inside)
    for width_mult in (1.0, 0.5):
        assert card_facts(path, subnet_at_width(CONFIG, width_mult)).source == "sst2_ofa"
    (folder / "results.json").unlink()
    assert card_facts(path, subnet_at_width(CONFIG, 1.0)).source == "sst2_ofa"


def test_widths_of_another_export_that_stay_are_named(tmp_path, caplog):
    for name in ("small/width_mult_1.0", "small/width_mult_0.5", "graph/width_mult_0.75"):
        (tmp_path / name).mkdir(parents=True)
    config = ExportConfig(str(tmp_path / "small"), str(tmp_path / "graph"))
    with caplog.at_level(logging.WARNING):
        export_places(config, [0.75, 0.5])
    (record,) = caplog.records
    assert f"{tmp_path}/small holds width_mult_1.0 too, of an export before" in record.getMessage()
    caplog.clear()
    export_places(config, [1.0, 0.75, 0.5])
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("row", "settings"),
    [({"latency_ms": "4.5"}, {}), ({}, {"max_seq_length": "64"}), ({}, [64])],
)
def test_results_that_are_not_a_runs_are_named(tmp_path, row, settings):
    folder = run_with(tmp_path, {"widths": [{**FULL, **row}], "settings": settings})
    with pytest.raises(InputError, match=r"results\.json is not as run_glue_ofa\.py writes it: "):
        card_facts(folder, subnet_at_width(CONFIG, 1.0))
