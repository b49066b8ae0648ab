import json

import pytest

from ofa_bert.scores import Best, format_metrics


def scores(wide, narrow):
    return {
        "width_1.0": {"accuracy": wide, "score": wide},
        "width_0.5": {"accuracy": narrow, "score": narrow},
    }


def test_the_best_step_has_the_highest_mean_and_each_width_its_own():
    # Means .7, .75, .7; the wide one is best at step 30, the narrow one at 20.
    best = Best().update(10, scores(0.8, 0.6))
    best = best.update(20, scores(0.7, 0.8)).update(30, scores(0.9, 0.5))
    assert (best.step, best.mean_score) == (20, pytest.approx(0.75))
    assert best.scores == scores(0.7, 0.8)
    assert best.own == {
        "width_1.0": {"step": 30, "metrics": {"accuracy": 0.9, "score": 0.9}},
        "width_0.5": {"step": 20, "metrics": {"accuracy": 0.8, "score": 0.8}},
    }


def test_of_equals_the_first_stays():
    best = Best().update(1, scores(0.5, 0.5)).update(2, scores(0.5, 0.5))
    assert best.step == 1
    assert {own["step"] for own in best.own.values()} == {1}


def test_an_update_is_a_new_value():
    first = Best().update(1, scores(0.5, 0.5))
    first.update(2, scores(0.9, 0.9))
    assert first == Best().update(1, scores(0.5, 0.5))


def test_negative_scores_can_be_best():
    assert Best().update(3, {"full": {"mcc": -0.2, "score": -0.2}}).mean_score == -0.2


def test_json_gives_the_same_back():
    best = Best().update(1, scores(0.3, 0.4)).update(2, scores(0.2, 0.6))
    assert Best(**json.loads(json.dumps(best.to_dict()))) == best


def test_metrics_on_a_line():
    assert format_metrics({"accuracy": 0.5, "f1": 2 / 3}) == "accuracy 0.5000, f1 0.6667"
