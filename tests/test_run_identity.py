"""What makes two runs the same, whatever may differ between them."""

from __future__ import annotations

from ofa_bert.config import DataConfig, ObjectiveConfig, SourceConfig, TrainConfig
from ofa_bert.distributed import Ranks
from ofa_bert.run_identity import changed_settings, describe_run

MAIN = Ranks()


def test_files_may_move_and_the_teachers_answers_too():
    def identity(path, cache):
        source, data = SourceConfig(path), DataConfig(train_file=path, dev_file=path)
        objective = ObjectiveConfig(lambda_rep=0.0, teacher_cache=cache)
        return describe_run([source, data, objective], {"training rows": "1"}, MAIN)

    before = identity("here", "memory")
    for cache in ("disk", "logits"):
        moved = identity("there", cache)
        assert moved["id"] == before["id"]
        assert changed_settings(before["settings"], moved) == []
    asked = identity("here", "none")
    assert asked["id"] != before["id"]
    expected = ["teacher_cache was memory, is none"]
    assert changed_settings(before["settings"], asked) == expected


def test_the_id_of_a_run_depends_on_what_decides_its_result_alone():
    def identity(inputs=None, ranks=MAIN, **training):
        return describe_run([TrainConfig(**training)], inputs or {}, ranks)["id"]

    first = identity()
    assert identity(logging_steps=7) == first
    others = [identity(seed=7), identity(save_steps=7), identity({"model": "1"})]
    others.append(identity(ranks=Ranks(0, 2)))
    assert len({first, *others}) == 5
