from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    engines,
    harness,
    inference,
    models,
    onnx_files,
    render,
    scaling,
    stages,
    steps,
)
from tests.benchmark_result import RESULT

TINY_WORK = '{"layers": 1, "hidden": 12, "heads": 2, "rows": 4, "length": 8, "widths": [1, 0.5]}'


# ---- what they compute themselves ----------------------------------------------------------------


def test_an_exponent_by_hand():
    # 3 * x ** 2.
    assert scaling.exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


def test_ids_are_padded_at_the_end_and_the_same_every_time():
    ids, types = engines.token_ids(100, 6, 16)
    assert ids.shape == types.shape == (6, 16)
    lengths = (ids != 0).sum(1)
    assert lengths[0] == 16
    assert lengths.min() >= 12
    assert lengths.min() < 16
    assert ((ids != 0) == (np.arange(16) < lengths[:, None])).all()
    assert ids[ids != 0].min() >= 5
    assert ids.max() < 100
    assert (types[ids == 0] == 0).all()
    assert types.max() == 1
    np.testing.assert_array_equal(ids, engines.token_ids(100, 6, 16)[0])


def test_timing_stops_at_the_budget(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("benchmarks.engines.time.perf_counter", lambda: clock[0])

    def work():
        clock[0] += 2.0

    assert engines.time_within(work, budget=5.0) == [2.0, 2.0, 2.0]
    assert engines.time_within(work, budget=0.0) == [2.0]


def test_constants_become_initializers():
    onnx = pytest.importorskip("onnx")
    weight = onnx.numpy_helper.from_array(np.eye(2, dtype="float32"), "inner")
    helper = onnx.helper
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["w"], value=weight),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2])],
    )
    model = helper.make_model(graph)
    assert onnx_files.constants_to_initializers(model) == 1
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["MatMul"]
    assert [tensor.name for tensor in model.graph.initializer] == ["w"]


def test_logits_are_large_enough_to_show_a_difference():
    model, origin = models.load("tiny")
    expected = inference.reference_logits(model, (8, 32))
    assert expected.std() == pytest.approx(1, rel=1e-4)
    assert origin == "random weights"
    assert not model.training


def test_the_work_of_a_step_is_read_from_json():
    work = steps.read_work('{"rows": 4, "widths": [1, 0.5]}')
    assert work == dataclasses.replace(steps.Work(), rows=4, widths=(1, 0.5))


def test_every_axis_grows():
    for axis in scaling.AXES.values():
        values = [value for value, _ in axis]
        assert values == sorted(set(values))
        for _, changes in axis:
            dataclasses.replace(scaling.BASE, **changes)


# ---- README --------------------------------------------------------------------------------------


def test_results_take_the_place_of_earlier_ones():
    text = "a\n<!-- result: sums -->\nold\n\nold\n<!-- end of result -->\nb\n"
    once = render.render(text, {"sums": RESULT})
    assert "old" not in once
    assert "|   ours |      1.25 |    3 |" in once
    assert once.startswith("a\n<!-- result: sums -->\ncpu abacus")
    assert once.endswith("<!-- end of result -->\nb\n")
    assert render.render(once, {"sums": RESULT}) == once
    empty = "a\n<!-- result: sums -->\n<!-- end of result -->\nb\n"
    assert render.render(once, {}) == render.render(empty, {}) == empty
    assert render.render(empty, {"sums": RESULT}) == once


def test_an_empty_block_does_not_reach_into_the_next():
    block = "<!-- result: {} -->\n<!-- end of result -->\n".format
    text = f"{block('none')}between\n{block('sums')}"
    filled = render.render(text, {"sums": RESULT})
    assert filled.startswith(f"{block('none')}between\n<!-- result: sums -->\ncpu abacus")


def test_a_result_without_a_place_is_an_error():
    with pytest.raises(ValueError, match=r"a block for each result; got none for \['sums'\]"):
        render.render("", {"sums": RESULT})


def test_files_of_different_settings_are_not_rendered(tmp_path):
    harness.report(RESULT, tmp_path / "a.json")
    harness.report(dataclasses.replace(RESULT, settings={"runs": 4}), tmp_path / "b.json")
    with pytest.raises(ValueError, match="the same settings"):
        render.read_results(tmp_path)


def test_the_readme_shows_what_the_files_hold():
    text = render.README.read_text("utf-8")
    assert render.render(text, render.read_results(harness.RESULTS)) == text
    expected = {"inference_minilm", "inference_bert_base", "stages", "scaling", "tries_minilm"}
    assert expected | {"train_step_minilm", "train_step_minilm_parts"} <= set(
        render.BLOCK.findall(text)
    )


# ---- the benchmarks themselves -------------------------------------------------------------------


def test_their_command_lines():
    options = inference.parse(["--widths", "1.0", "2/3", "--shapes", "8x128"])
    assert options.widths == [1.0, pytest.approx(2 / 3)]
    assert options.shapes == [(8, 128)]
    assert options.engines == list(engines.ENGINES)
    assert options.peer_python == sys.executable
    assert stages.parse(["--model", "tiny"]).model == "tiny"


@pytest.mark.slow
def test_inference_runs(tmp_path):
    path = tmp_path / "inference.json"
    inference.main(
        f"--model tiny --widths 1/2 --shapes 2x8 --rounds 1 --seconds 0.01 --output {path}".split()
    )
    result = harness.read_result(path)
    found = {row["engine"]: row["largest logit difference"] for row in result.rows}
    exact = {"ours", "Paddle Inference as documented", "ONNX Runtime", "OpenVINO", "PyTorch"}
    assert {"ours", "Paddle Inference as documented", "ONNX Runtime"} <= set(found)
    for engine in exact & set(found):
        assert found[engine] < 1e-5, engine
    missing = set(engines.ENGINES) - set(found)
    assert all(any(f"Left out: {name} " in note for note in result.notes) for name in missing)


@pytest.mark.slow
def test_stages_run(tmp_path):
    path = tmp_path / "stages.json"
    small = "--model tiny --export_model tiny --rows 8 --texts 20 --runs 1"
    stages.main([*small.split(), "--output", str(path)])
    assert {"importance", "reordering", "tokenisation", "import ofa_bert"} <= {
        row["stage"] for row in harness.read_result(path).rows
    }


@pytest.mark.slow
def test_scaling_runs(tmp_path):
    path = tmp_path / "scaling.json"
    arguments = ["--base", TINY_WORK, "--axes", "batch", "processes", "--steps", "1"]
    scaling.main([*arguments, "--output", str(path)])
    result = harness.read_result(path)
    assert [row["value"] for row in result.rows] == [8, 16, 32, 64, 1, 2]
    assert result.rows[3]["exponent"] is not None
    assert json.loads(Path(path).read_text())["settings"]["steps"] == 1
