"""export_model.py: which widths it writes, and what it checks them on."""

from __future__ import annotations

import numpy as np
import pytest

import export_model
from ofa_bert import distributed, runtime
from ofa_bert.checkpoint.load import load_model
from ofa_bert.extraction import extract
from ofa_bert.supernet import load_supernet
from tests.commands.expected import read_results, supernet_with, tree
from tests.oracles import weights_of
from tests.runs import export_argv, run


def test_export_writes_each_width_and_its_parity(exported, supernet):
    work, result = exported
    source = load_supernet(supernet[0])
    for width_mult, folder in [(1.0, "width_mult_1.0"), (0.5, "width_mult_0.5")]:
        cut = load_model(work / "dynamic" / folder)
        expected = extract(source.model, source.subnet(width_mult))
        assert cut.config.num_attention_heads == expected.config.num_attention_heads
        for name, values in weights_of(expected).items():
            np.testing.assert_array_equal(weights_of(cut)[name], values)
        assert {"model.json", "model.pdiparams", "deploy.json", "vocab.txt"} <= tree(
            work / "static" / folder
        ).keys()
    assert result.out.count("width ") == 2
    assert result.out.count("parity on 11 rows of the dev set, largest") == 2
    accuracy = read_results(supernet[0])["widths"][-1]["metrics"]["accuracy"]
    card = (work / "dynamic" / "width_mult_0.5" / "README.md").read_text()
    assert f"| accuracy | {100 * accuracy:.2f} |" in card
    assert "random" not in result.out + result.err


def test_a_width_that_was_not_trained_is_a_warning_naming_those_that_were(supernet, tmp_path):
    argv = export_argv(supernet[0], tmp_path / "dynamic", width_mult="0.25")
    result = run(export_model.main, argv)
    assert result.code == 0
    assert "width 0.25 was not trained" in result.err
    assert "trained: 1.0, 0.75, 0.5" in result.err
    assert load_model(tmp_path / "dynamic").config.num_attention_heads == (1, 1)


def test_all_widths(supernet, tmp_path):
    result = run(export_model.main, export_argv(supernet[0], tmp_path / "all", all_widths=True))
    assert result.code == 0, result.err
    heads = {
        path.name: load_model(path).config.num_attention_heads[0]
        for path in (tmp_path / "all").iterdir()
    }
    assert heads == {"width_mult_1.0": 4, "width_mult_0.75": 3, "width_mult_0.5": 2}


def test_several_widths_replace_those_that_lie_there(supernet, tmp_path):
    argv = export_argv(supernet[0], tmp_path / "all", width_mult=("1.0", "0.5"))
    for _ in range(2):
        result = run(export_model.main, argv)
        assert result.code == 0, result.err
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == [
        "width_mult_0.5",
        "width_mult_1.0",
    ]


def test_parity_is_checked_on_random_rows_where_the_runs_own_are_gone(supernet, tmp_path):
    other = supernet_with(supernet, tmp_path, dev_file=str(tmp_path / "gone.tsv"))
    result = run(export_model.main, export_argv(other, tmp_path / "dynamic"))
    assert result.code == 0, result.err
    assert "parity is checked on random ids, not on the dev set: data file must" in result.err
    assert "parity on 16 random rows, largest" in result.out


def test_an_export_uses_one_device_of_several(supernet, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "choose_device", lambda device, n_gpu: ("cpu", 2))
    monkeypatch.setattr(distributed, "launch", lambda *what: pytest.fail("launched"))
    result = run(export_model.main, export_argv(supernet[0], tmp_path / "dynamic"))
    assert result.code == 0, result.err
    assert "this command works in one process; it uses one device, cpu" in result.err
    assert load_model(tmp_path / "dynamic").config.num_attention_heads == (4, 4)


@pytest.mark.parametrize(("rank", "made"), [(0, True), (1, False)])
def test_of_launched_processes_the_main_one_exports(supernet, tmp_path, monkeypatch, rank, made):
    monkeypatch.setenv("PADDLE_TRAINER_ID", str(rank))
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    result = run(export_model.main, export_argv(supernet[0], tmp_path / "dynamic"))
    assert result.code == 0, result.err
    assert (tmp_path / "dynamic").exists() == made
    assert ("works in one process" in result.err) == made
