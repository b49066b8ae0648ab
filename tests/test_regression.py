"""A number for two texts, from a file of rows to printed lines, against NumPy throughout."""

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
from ofa_bert.export.static import export_static
from ofa_bert.extraction import extract
from ofa_bert.supernet import load_supernet
from tests.oracles import bert_of
from tests.runs import export_argv, finetune_argv, flags, ofa_argv, run
from tests.tiny import tiny_config, tiny_model, tiny_tokenizer, tiny_vocab

CONFIG = tiny_config(num_classes=1, max_position_embeddings=20)
COLUMNS = {"text_columns": ("0", "1"), "label_column": "2"}


def pairs(count, seed):
    """Give pairs of texts of 1 to 4 words: none is cut to 12 tokens."""
    generator = np.random.default_rng(seed)
    words = tiny_vocab()[7:]

    def text():
        return " ".join(generator.choice(words, generator.integers(1, 5)))

    return [(text(), text()) for _ in range(count)]


def numbers(count, seed):
    """Give different labels of which not all are whole."""
    return np.random.default_rng(seed).permutation(count) / 4


def answers(model, rows):
    """Answer each pair by itself, in NumPy; the second text is the second segment."""
    vocab, found = tiny_vocab(), []
    for first, second in rows:
        first, second = ["[CLS]", *first.split(), "[SEP]"], [*second.split(), "[SEP]"]
        batch = {
            "input_ids": np.array([[vocab.index(token) for token in first + second]]),
            "token_type_ids": np.array([[0] * len(first) + [1] * len(second)]),
            "attention_mask": np.ones((1, len(first + second)), "int64"),
        }
        found.append(bert_of(model, batch)[0].item())
    return np.array(found)


def dev_scores(model):
    """Correlate answers to the development rows with their labels; ranks have no ties."""
    found, labels = answers(model, pairs(11, seed=2)), numbers(11, seed=3)
    ranks = [np.argsort(np.argsort(values)) for values in (found, labels)]
    pearson, spearman = np.corrcoef(found, labels)[0, 1], np.corrcoef(*ranks)[0, 1]
    return {"pearson": pearson, "spearman": spearman, "score": (pearson + spearman) / 2}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A base model, rows without a header, and all that is made of them."""
    folder = tmp_path_factory.mktemp("regression")
    save_model(tiny_model(CONFIG), folder / "base", tiny_tokenizer(folder / "base"))
    for name, count, seed in [("train.tsv", 20, 0), ("dev.tsv", 11, 2)]:
        rows = zip(pairs(count, seed), numbers(count, seed + 1), strict=True)
        lines = [f"{first}\t{second}\t{label}" for (first, second), label in rows]
        (folder / name).write_text("\n".join(lines) + "\n")
    export = export_argv(
        folder / "supernet",
        folder / "dynamic",
        static_sub_model=folder / "static",
        width_mult="1/2",
    )
    patch = pytest.MonkeyPatch()
    patch.setenv("OFA_BERT_CACHE", str(tmp_path_factory.mktemp("cache")))
    for main, argv in [
        (cli.main, finetune_argv(folder, folder / "teacher", **COLUMNS)),
        (run_glue_ofa.main, ofa_argv(folder, folder / "supernet", **COLUMNS)),
        (export_model.main, export),
    ]:
        result = run(main, argv)
        assert result.code == 0, result.err
    yield folder
    patch.undo()


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def test_scores_are_the_correlations_of_what_numpy_answers(work):
    teacher = dev_scores(load_model(work / "teacher"))
    assert results_of(work / "teacher")["scores"] == {"full": pytest.approx(teacher, abs=1e-5)}
    results, supernet = results_of(work / "supernet"), load_supernet(work / "supernet")
    assert results["teacher"] == pytest.approx(teacher, abs=1e-5)
    for row, subnet in zip(results["widths"], supernet.widths.values(), strict=True):
        expected = dev_scores(extract(supernet.model, subnet))
        assert row["score"] == pytest.approx(expected.pop("score"), abs=1e-5)
        assert row["metrics"] == pytest.approx(expected, abs=1e-5)


def test_predict_prints_the_number_of_each_pair_in_order(work, tmp_path):
    rows = pairs(9, seed=4)
    swapped = [(second, first) for first, second in rows]
    model = load_model(work / "dynamic")
    assert model.config.num_attention_heads == (2, 2)
    for asked in (rows, swapped):
        (tmp_path / "in.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in asked))
        argv = flags(model=work / "static", input=tmp_path / "in.tsv", batch_size=4)
        result = run(cli.main, ["predict", *argv])
        assert (result.code, result.err) == (0, "")
        lines = result.out.splitlines()
        assert all(re.fullmatch(r"-?\d+(\.\d+)?", line) for line in lines)
        found = [float(line) for line in lines]
        np.testing.assert_allclose(found, answers(model, asked), rtol=1e-5, atol=1e-5)
    # Which text comes first matters.
    assert np.abs(answers(model, rows) - answers(model, swapped)).min() > 1e-3


@pytest.mark.parametrize(
    ("number", "printed"), [(123.456789, "123.457"), (0.00123456789, "0.00123457"), (-2.5, "-2.5")]
)
def test_a_number_has_six_digits(tmp_path, number, printed):
    model = tiny_model(CONFIG)
    model.classifier.weight.set_value(np.zeros((12, 1), "float32"))
    model.classifier.bias.set_value(np.array([number], "float32"))
    tokenizer = tiny_tokenizer(tmp_path)
    export_static(model, tmp_path / "static", tokenizer=tokenizer, max_seq_length=12)
    (tmp_path / "in.txt").write_text("w1 w2\n")
    result = run(
        cli.main, ["predict", *flags(model=tmp_path / "static", input=tmp_path / "in.txt")]
    )
    assert result.out == f"{printed}\n"
