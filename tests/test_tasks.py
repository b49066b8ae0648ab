import pytest

from ofa_bert.data.tasks import TASKS, find_task, is_task
from ofa_bert.errors import InputError


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("SST-2", "SST-2"),
        ("sst2", "SST-2"),
        ("sst_2", "SST-2"),
        ("cola", "CoLA"),
        ("sts-b", "STS-B"),
        ("STSB", "STS-B"),
        ("QQP", "QQP"),
    ],
)
def test_a_task_is_found_in_any_spelling(typed, name):
    assert is_task(typed)
    assert find_task(typed).name == name


def test_an_unknown_task_names_the_nearest():
    assert not is_task("MRCP")
    with pytest.raises(InputError, match=r"task_name must be a GLUE task; got 'MRCP'; .*'MRPC'"):
        find_task("MRCP")


# From the GLUE paper's table 1 (arXiv:1804.07461) and the benchmark's own files.
@pytest.mark.parametrize(
    ("name", "texts", "labels", "metrics"),
    [
        ("CoLA", 1, ("0", "1"), ("mcc",)),
        ("SST-2", 1, ("0", "1"), ("accuracy",)),
        ("MRPC", 2, ("0", "1"), ("accuracy", "f1")),
        ("STS-B", 2, (), ("pearson", "spearman")),
        ("QQP", 2, ("0", "1"), ("accuracy", "f1")),
        ("MNLI", 2, ("contradiction", "entailment", "neutral"), ("accuracy",)),
        ("QNLI", 2, ("entailment", "not_entailment"), ("accuracy",)),
        ("RTE", 2, ("entailment", "not_entailment"), ("accuracy",)),
        ("WNLI", 2, ("0", "1"), ("accuracy",)),
    ],
)
def test_the_nine_tasks(name, texts, labels, metrics):
    task = find_task(name)
    assert (len(task.text_columns), task.labels, task.metrics) == (texts, labels, metrics)
    assert task.regression == (name == "STS-B")
    assert len(TASKS) == 9


# Features of nyu-mll/glue on the hub, from which run_glue.py takes the names of a model's classes.
@pytest.mark.parametrize(
    ("name", "hub_labels"),
    [
        ("CoLA", ("unacceptable", "acceptable")),
        ("SST-2", ("negative", "positive")),
        ("MRPC", ("not_equivalent", "equivalent")),
        ("QQP", ("not_duplicate", "duplicate")),
        ("WNLI", ("not_entailment", "entailment")),
    ],
)
def test_the_hubs_names_of_0_and_1(name, hub_labels):
    assert (find_task(name).labels, find_task(name).hub_labels) == (("0", "1"), hub_labels)


def test_only_mnli_has_two_development_sets():
    assert dict(find_task("MNLI").dev_files) == {
        "matched": "dev_matched.tsv",
        "mismatched": "dev_mismatched.tsv",
    }
    assert {tuple(task.dev_files) for task in TASKS if task.name != "MNLI"} == {("dev",)}
