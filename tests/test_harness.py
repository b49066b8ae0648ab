from __future__ import annotations

import dataclasses
import os

import pytest

from benchmarks import harness, render
from benchmarks.harness import Child, ChildError
from tests.benchmark_result import RESULT


def test_a_run_is_written_read_and_shown(tmp_path, capsys):
    path = tmp_path / "new" / "sums.json"
    harness.report(RESULT, path)
    assert harness.read_result(path) == RESULT
    assert capsys.readouterr().out == (
        "cpu abacus, cores 1\n\n"
        "runs 3\n\n"
        "| engine | median ms | runs |\n"
        "|-------:|----------:|-----:|\n"
        "|   ours |      1.25 |    3 |\n\n"
        "left out: slide rule, not installed\n\n"
    )


def test_runs_of_equal_settings_share_a_table():
    other = dataclasses.replace(RESULT, rows=[{"engine": "theirs", "median ms": 2.5, "runs": 3}])
    combined = harness.combine([RESULT, other])
    assert [row["engine"] for row in combined.rows] == ["ours", "theirs"]
    assert combined.notes == RESULT.notes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"runs": 4}}, "same settings .*; got {'runs': 3} and {'runs': 4}; run them"),
        ({"machine": {"cpu": "abacus", "cores": 2}}, "same machine"),
        ({"benchmark": "products"}, "same benchmark"),
    ],
)
def test_runs_of_different_settings_are_not_mixed(changes, message):
    with pytest.raises(ValueError, match=message):
        harness.combine([RESULT, dataclasses.replace(RESULT, **changes)])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (7, "7"),
        ("a", "a"),
        (0.0, "0.00"),
        (1234.56, "1235"),
        (999.6, "1000"),
        (12.345, "12.3"),
        (0.01234, "0.0123"),
        (4.2e-7, "4.2e-07"),
    ],
)
def test_cells_hold_three_digits(value, text):
    assert harness.format_cell(value) == text


def test_names_fit_the_blocks_of_readme():
    name = harness.name_of("epoch", "SST-2")
    assert name == "epoch_sst_2"
    assert render.BLOCK.findall(f"<!-- result: {name} -->\n<!-- end of result -->\n") == [name]


def test_the_summary_by_hand():
    assert harness.summary([0.5, 0.1, 0.2], "ms") == {
        "median ms": pytest.approx(200),
        "min ms": pytest.approx(100),
        "runs": 3,
    }


def test_warm_ups_are_not_timed(monkeypatch):
    clock = [0.0]
    waits = iter([99.0, 98.0, 2.0, 3.0])
    monkeypatch.setattr("benchmarks.harness.time.perf_counter", lambda: clock[0])

    def work():
        clock[0] += next(waits)

    assert harness.time_runs(work, runs=2, warmup=2) == [2.0, 3.0]


def test_functions_take_turns(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr("benchmarks.harness.time.perf_counter", lambda: clock[0])

    def work(name, seconds):
        clock[0] += seconds
        calls.append(name)

    functions = {"a": lambda: work("a", 2.0), "b": lambda: work("b", 3.0)}
    assert harness.time_in_turns(functions, runs=2) == {"a": [2.0, 2.0], "b": [3.0, 3.0]}
    assert "".join(calls) == "ababab"


def test_the_processor_and_the_flags_that_matter(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: Abacus 2\nflags\t\t: fpu avx2 fma sse\n\nmodel name\t: last\n")
    assert harness.cpu_model(path) == "Abacus 2 (avx2 fma)"
    assert harness.installed("no-such-distribution") is None
    said = harness.machine("numpy")
    assert {"cpu", "cores", "paddlepaddle", "numpy", "commit"} <= set(said)


def test_a_child_answers_whatever_else_it_prints(monkeypatch):
    monkeypatch.setenv("MKL_NUM_THREADS", "9")
    environment = harness.without_settings()
    with Child("tests.echo_child", "--model", "a b", environment=environment) as child:
        first = child.ask(number=1)
        second = child.ask(number=2)
    assert first["request"] == {"number": 1}
    assert second["request"] == {"number": 2}
    assert first["pid"] == second["pid"] != os.getpid()
    assert first["arguments"] == ["--model", "a b"]
    assert first["threads"] is None
    with Child("tests.echo_child", environment={"MKL_NUM_THREADS": "3"}) as child:
        assert child.ask()["threads"] == "3"


def test_a_child_that_fails_says_why():
    with Child("tests.echo_child") as child:
        with pytest.raises(ChildError, match=r"^RuntimeError: no paddle here$"):
            child.ask(fail="no paddle here")
        with pytest.raises(ChildError, match="no paddle here"):
            child.ask()


def test_children_take_turns():
    with (
        Child("tests.echo_child", "--seconds", "1") as a,
        Child("tests.echo_child", "--seconds", "2") as b,
    ):
        found = harness.in_turns({"a": a, "b": b}, rounds=2, pause=0.0, add=10)
    assert found == {"a": [11.0, 11.0], "b": [12.0, 12.0]}
