import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import run_glue_ofa
from ofa_bert.arguments import parse_args
from ofa_bert.data.dataset import load_task
from ofa_bert.data.readers import Example
from ofa_bert.data.tasks import TASKS, find_task

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / "configs").rglob("*.y*ml"))
REQUIRED = ["--model_name_or_path", "teacher", "--output_dir", "out"]

# Epochs of DynaBERT's script; for QQP those of the command PaddleNLP publishes.
EPOCHS = {"qqp": 6.0}


def parse(path):
    argv = [*REQUIRED, "--config", str(path)]
    configs = parse_args("run_glue_ofa.py", "", run_glue_ofa.GROUPS, argv)
    return {type(config).__name__: config for config in configs}


def test_each_of_the_nine_tasks_has_one_yaml():
    assert len(CONFIGS) == 9
    assert {path.stem for path in CONFIGS} == {task.name.lower() for task in TASKS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_yaml_gives_the_published_values(path):
    configs = parse(path)
    assert find_task(configs["DataConfig"].task_name).name.lower() == path.stem
    training, objective = configs["TrainConfig"], configs["ObjectiveConfig"]
    assert (training.batch_size, training.learning_rate) == (32, 2e-5)
    assert training.num_train_epochs == EPOCHS.get(path.stem, 3.0)
    assert (objective.lambda_logit, objective.lambda_rep) == (1.0, 0.1)
    # As the predecessor's command writes them.
    widths = (1.0, 0.8333333333333334, 0.6666666666666666, 0.5)
    assert configs["SupernetConfig"].width_mult_list == widths


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_value_names_its_source(path):
    text = path.read_text(encoding="utf-8")
    for name in yaml.safe_load(text):
        line = next(line for line in text.splitlines() if line.startswith(f"{name}:"))
        assert "# source: " in line or name == "task_name"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_yaml_points_to_results_where_there_are_some(path):
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    has_results = bool(re.search(rf"^## {path.stem}\b", results, re.MULTILINE | re.IGNORECASE))
    assert ("docs/results.md" in path.read_text(encoding="utf-8")) == has_results


def test_the_yaml_of_qqp_passes_over_the_broken_rows_of_its_files(tmp_path):
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    good = "1\t3\t4\tHow so?\tWhy?\t1"
    # A question with a line end in it leaves two rows, of four fields and of three.
    broken = ["2\t5\t6\tWhat is", "this?\tWhat?\t0", "3\t7\t8\t\tWho?\t0"]
    (tmp_path / "train.tsv").write_text("\n".join([header, good, *broken]) + "\n")
    (tmp_path / "dev.tsv").write_text(f"{header}\n{good}\n")
    (path,) = [path for path in CONFIGS if path.stem == "qqp"]
    data = replace(parse(path)["DataConfig"], data_dir=str(tmp_path))
    assert load_task(data).train == [Example("How so?", "Why?", "1")]


def test_a_flag_overrides_a_yaml():
    argv = [*REQUIRED, "--config", str(CONFIGS[0]), "--batch_size", "8"]
    configs = parse_args("run_glue_ofa.py", "", run_glue_ofa.GROUPS, argv)
    assert next(c for c in configs if hasattr(c, "batch_size")).batch_size == 8


def test_the_gpu_lock_is_the_cpu_lock_with_another_paddle():
    cpu, gpu = (
        [
            line.split()[0]
            for line in (ROOT / name).read_text("utf-8").splitlines()
            if line[:1] not in ("", " ", "#")
        ]
        for name in ("requirements.txt", "requirements-gpu.txt")
    )
    assert sum(line.startswith("paddlepaddle==") for line in cpu) == 1
    assert gpu == [re.sub("^paddlepaddle==", "paddlepaddle-gpu==", line) for line in cpu]


def test_every_package_of_the_lock_has_hashes():
    text = (ROOT / "requirements.txt").read_text("utf-8")
    packages = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(packages) > 100
    for package in packages:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", package), package.split()[0]
