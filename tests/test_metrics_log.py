import json

import pytest

from ofa_bert.errors import InputError
from ofa_bert.metrics_log import MetricsLog


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(path, steps):
    log = MetricsLog(path)
    for step in steps:
        log.add({"full": {"label": float(step)}}, tokens=10, seconds=0.5)
        log.write(step, step / 4, 1e-3)
    return log


def test_a_line_holds_the_means_since_the_last_one(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl")
    for wide, narrow, tokens, seconds in [(1.0, 4.0, 100, 0.5), (2.0, 8.0, 50, 0.25)]:
        terms = {"width_1.0": {"rep": wide}, "width_0.5": {"rep": narrow, "logit": 0.5}}
        log.add(terms, tokens, seconds)
    line = log.write(2, 0.123456, 2e-5)
    assert line == {
        "step": 2,
        "epoch": 0.1235,
        "learning_rate": 2e-5,
        "loss": 1.5 + 6.0 + 0.5,
        "losses": {"width_1.0/rep": 1.5, "width_0.5/rep": 6.0, "width_0.5/logit": 0.5},
        "seconds_per_step": 0.375,
        "tokens_per_second": 200,  # 150 / 0.75
    }
    log.add({"width_1.0": {"rep": 3.0}}, 10, 1.0)
    assert log.write(3, 0.2, 2e-5)["losses"] == {"width_1.0/rep": 3.0}
    assert lines(tmp_path / "m.jsonl")[0] == line


def test_a_width_that_some_steps_leave_out_is_averaged_over_the_others():
    log = MetricsLog(None)
    log.add({"wide": {"rep": 1.0}, "narrow": {"rep": 5.0}}, 10, 1.0)
    log.add({"wide": {"rep": 3.0}}, 10, 1.0)
    line = log.write(2, 0.1, 2e-5)
    assert line["losses"] == {"wide/rep": 2.0, "narrow/rep": 5.0}
    assert line["loss"] == 7.0


def test_without_a_file_lines_are_given_and_written_nowhere():
    log = written(None, [1])
    log.add({"full": {"label": 0.5}}, tokens=10, seconds=0.5)
    assert log.write(2, 0.5, 1e-3)["loss"] == 0.5
    log.rewind(0)


def test_rewinding_drops_later_lines(tmp_path):
    path = tmp_path / "m.jsonl"
    log = written(path, [2, 4, 6, 8])
    log.rewind(4)
    assert [line["step"] for line in lines(path)] == [2, 4]
    log.rewind(0)
    assert path.read_text() == ""


def test_rewinding_what_is_not_there_is_nothing(tmp_path):
    MetricsLog(tmp_path / "m.jsonl").rewind(3)
    assert not (tmp_path / "m.jsonl").exists()


@pytest.mark.parametrize("torn", ['{"step": 3, "lo', '{"step": 3}', "{"])
def test_rewinding_survives_a_torn_last_line(tmp_path, torn):
    """A run that is killed while it writes leaves one, perhaps cut just before the newline."""
    path = tmp_path / "m.jsonl"
    log = written(path, [1, 2])
    with path.open("a") as file:
        file.write(torn)
    log.rewind(2)
    written(path, [3])
    assert [(line["step"], line["loss"]) for line in lines(path)] == [(1, 1), (2, 2), (3, 3)]


def test_a_line_after_a_resume_is_the_mean_over_all_its_steps(tmp_path):
    """Saved after 3 of 4 steps: what had gathered goes into the checkpoint, by way of JSON."""
    log = written(tmp_path / "m.jsonl", [4])
    for loss in (1.0, 2.0, 6.0):
        log.add({"full": {"label": loss}}, tokens=10, seconds=0.5)
    pending = json.loads(json.dumps(log.pending()))
    resumed = MetricsLog(tmp_path / "m.jsonl")
    resumed.rewind(7, pending)
    resumed.add({"full": {"label": 7.0}}, tokens=20, seconds=1.0)
    line = resumed.write(8, 2.0, 1e-3)
    assert line["losses"] == {"full/label": 4.0}  # (1 + 2 + 6 + 7) / 4
    assert (line["seconds_per_step"], line["tokens_per_second"]) == (0.625, 20)  # 2.5 / 4, 50 / 2.5
    assert log.pending()["steps"] == 3  # a copy was saved


def test_rewinding_forgets_what_had_gathered():
    log = MetricsLog(None)
    log.add({"full": {"label": 9.0}}, tokens=10, seconds=0.5)
    log.rewind(0)
    log.add({"full": {"label": 1.0}}, tokens=10, seconds=0.5)
    assert log.write(1, 0.1, 1e-3)["loss"] == 1.0


@pytest.mark.parametrize("line", ["half a line", "[1]", '{"loss": 1}', '{"step": []}'])
def test_a_line_of_something_else_is_named(tmp_path, line):
    path = tmp_path / "m.jsonl"
    written(path, [1])
    with path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(InputError, match=r"m\.jsonl, line 2, is no line of a run; mend or remove"):
        MetricsLog(path).rewind(5)


def test_a_line_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(InputError, match=r"m\.jsonl cannot be written: No such file .*--resume"):
        written(tmp_path / "gone" / "m.jsonl", [1])
