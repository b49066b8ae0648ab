"""run_glue_ofa.py: a supernet, from a teacher, a base model or a sub-model."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import export_model
import run_glue_ofa
from ofa_bert import cli
from ofa_bert.checkpoint.load import load_model
from ofa_bert.checkpoint.save import save_model
from ofa_bert.extraction import extract
from ofa_bert.supernet import load_supernet
from tests.commands.expected import ROOT, data_file, dev_accuracy, logits_of, read_results
from tests.oracles import weights_of
from tests.runs import LABELS, MAX_SEQ_LENGTH, export_argv, finetune_argv, ofa_argv, run, sentences
from tests.tiny import tiny_config, tiny_model, tiny_tokenizer


def test_run_glue_ofa_reports_what_each_width_scores_and_weighs(work, supernet):
    folder, result = supernet
    loaded = load_supernet(folder)
    results = read_results(folder)
    assert list(loaded.widths) == [1.0, 0.75, 0.5]
    teacher_accuracy = dev_accuracy(work, load_model(work / "teacher"))
    assert results["teacher"] == {"accuracy": teacher_accuracy, "score": teacher_accuracy}
    for row, (width_mult, subnet) in zip(results["widths"], loaded.widths.items(), strict=True):
        cut = extract(loaded.model, subnet)
        accuracy = dev_accuracy(work, cut)
        assert row["width_mult"] == width_mult
        assert row["metrics"]["accuracy"] == accuracy
        assert row["score"] == accuracy
        assert row["latency_ms"] > 0.0
        assert row["params"] == sum(p.size for p in cut.parameters())
        shown = re.search(rf"^\| *{width_mult} .*$", result.out, re.MULTILINE)
        assert shown is not None
        assert f"{100 * accuracy:.2f}" in shown[0] or f"{accuracy:.4f}" in shown[0]


def test_the_log_says_the_teachers_scores_as_all_others(work, teacher, tmp_path):
    argv = ofa_argv(work, tmp_path / "out", width_mult_list="1.0", max_steps=1, log_level="info")
    result = run(run_glue_ofa.main, argv)
    assert result.code == 0, result.err
    accuracy = dev_accuracy(work, load_model(teacher[0]))
    assert f"teacher: accuracy {accuracy:.4f}, score {accuracy:.4f}\n" in result.err


def test_a_teacher_that_is_never_right_is_a_warning(work, teacher, tmp_path):
    texts = sentences(6, seed=5)
    answers = logits_of(load_model(teacher[0]), texts).argmax(-1)
    rows = [f"{text}\t{LABELS[1 - answer]}\n" for text, answer in zip(texts, answers, strict=True)]
    dev = data_file(tmp_path, "sentence\tlabel\n" + "".join(rows))
    argv = ofa_argv(work, tmp_path / "out", dev_file=dev, width_mult_list="1.0", max_steps=1)
    result = run(run_glue_ofa.main, argv)
    assert result.code == 0, result.err
    assert "the teacher's accuracy on dev is 0.0000, below" in result.err


@pytest.mark.parametrize("seed", [7, 8])
def test_a_supernets_fresh_classifier_is_drawn_from_the_seed(work, tmp_path, seed):
    model = tiny_model(tiny_config(num_classes=2, max_position_embeddings=20))
    del model.classifier
    save_model(model, tmp_path / "base", tiny_tokenizer(tmp_path / "base"))
    argv = ofa_argv(
        work,
        tmp_path / "supernet",
        model_name_or_path=tmp_path / "base",
        seed=seed,
        learning_rate=1e-30,  # float32 weights stay as they are
        max_steps=1,
    )
    result = run(run_glue_ofa.main, argv)
    assert result.code == 0, result.err
    expected = weights_of(load_model(tmp_path / "base", num_classes=2, seed=seed))
    found = weights_of(load_model(tmp_path / "supernet"))
    np.testing.assert_array_equal(found["classifier.weight"], expected["classifier.weight"])


def test_a_sub_model_fine_tunes_and_becomes_a_supernet_again(work, exported, tmp_path):
    sub_model = work / "dynamic" / "width_mult_0.5"  # 2 heads of 3, 12 neurons
    argv = finetune_argv(work, tmp_path / "tuned", model_name_or_path=sub_model, max_steps=2)
    result = run(cli.main, argv)
    assert result.code == 0, result.err
    argv = ofa_argv(
        work,
        tmp_path / "supernet",
        model_name_or_path=tmp_path / "tuned",
        width_mult_list=("1", "1/2"),
        max_steps=2,
    )
    result = run(run_glue_ofa.main, argv)
    assert result.code == 0, result.err
    argv = export_argv(tmp_path / "supernet", tmp_path / "again", width_mult="0.5")
    result = run(export_model.main, argv)
    assert result.code == 0, result.err
    config = load_model(tmp_path / "again").config
    assert (config.hidden_size, config.head_dim) == (12, 3)
    assert (config.num_attention_heads, config.intermediate_size) == ((1, 1), (6, 6))
    # The export took its maximal length and its rows from the run.
    assert config.max_seq_length == MAX_SEQ_LENGTH


def test_the_documents_name_every_file_and_key_that_is_written(work, teacher, supernet, exported):
    text = (ROOT / "docs" / "files.md").read_text("utf-8")
    documented = set(re.findall(r"`([^`]+)`", text))
    folders = ("teacher", "supernet", "dynamic/width_mult_0.5", "static/width_mult_0.5")
    written = {path.name for folder in folders for path in (work / folder).iterdir()}
    deploy = json.loads((work / "static" / "width_mult_0.5" / "deploy.json").read_text())
    results = read_results(supernet[0])
    line = json.loads((supernet[0] / "metrics.jsonl").read_text().splitlines()[0])
    keys = [*deploy, *results, *results["widths"][0], *line]
    assert written | set(keys) <= documented
