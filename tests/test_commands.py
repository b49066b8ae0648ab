"""The commands, from a random model and a few lines of text to a static graph."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.metrics import accuracy_score

import export_model
import run_glue_ofa
from ofa_bert import cli, distributed, runtime
from ofa_bert.arguments import parse_args
from ofa_bert.checkpoint.load import load_model
from ofa_bert.checkpoint.save import save_model
from ofa_bert.checkpointing import Checkpoints
from ofa_bert.commands import evaluate
from ofa_bert.evaluate import EVALUATION_BATCH_SIZE
from ofa_bert.extraction import extract
from ofa_bert.subnet import subnet_at_width
from ofa_bert.supernet import load_supernet
from tests.oracles import bert_of, softmax, weights_of
from tests.runs import run
from tests.tiny import tiny_config, tiny_model, tiny_tokenizer, tiny_vocab

import paddle  # isort: skip

ROOT = Path(__file__).parent.parent
LABELS = ("bad", "good")
MAX_SEQ_LENGTH = 12
WIDTHS = (1.0, 0.75, 0.5)


def flags(**values):
    """Write a command line; None leaves a flag out."""
    argv = []
    for name, value in values.items():
        if value is None:
            continue
        argv.append(f"--{name}")
        if value is not True:
            argv += [str(v) for v in (value if isinstance(value, tuple) else (value,))]
    return argv


@pytest.fixture(autouse=True, scope="module")
def _restored():
    """Commands set up the log and the environment of a process; here it goes on."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True, scope="module")
def work(tmp_path_factory):
    """A directory with a random model and a few labelled lines, and the cache elsewhere."""
    folder = tmp_path_factory.mktemp("commands")
    save_model(
        tiny_model(tiny_config(num_classes=2, labels=LABELS, max_position_embeddings=20)),
        folder / "base",
        tiny_tokenizer(folder / "base"),
    )
    write_rows(folder / "train.tsv", 26, seed=1)
    write_rows(folder / "dev.tsv", 11, seed=2)
    patch = pytest.MonkeyPatch()
    patch.setenv("OFA_BERT_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield folder
    patch.undo()


def sentences(count, seed):
    generator = np.random.default_rng(seed)
    words = tiny_vocab()[7:]
    return [
        " ".join(generator.choice(words, generator.integers(1, 15))) for _ in range(count)
    ]  # some are cut


def write_rows(path, count, seed):
    labels = np.random.default_rng(seed + 100).choice(LABELS, count)
    lines = [f"{text}\t{label}" for text, label in zip(sentences(count, seed), labels, strict=True)]
    path.write_text("\n".join(["sentence\tlabel", *lines]) + "\n", encoding="utf-8")


def data_flags(work, **changes):
    return {
        "task_name": "own",
        "train_file": work / "train.tsv",
        "dev_file": work / "dev.tsv",
        "text_columns": "sentence",
        "label_column": "label",
        "max_seq_length": MAX_SEQ_LENGTH,
        "n_gpu": 0,
        "log_level": "warning",
        **changes,
    }


def finetune_argv(work, output, **changes):
    return [
        "finetune",
        *flags(
            **{
                "model_name_or_path": work / "base",
                "output_dir": output,
                "batch_size": 5,
                "learning_rate": 1e-3,
                "num_train_epochs": 2,
                "logging_steps": 2,
                "save_steps": 4,
                **data_flags(work),
                **changes,
            }
        ),
    ]


def ofa_argv(work, output, **changes):
    return flags(
        **{
            "model_name_or_path": work / "teacher",
            "output_dir": output,
            "width_mult_list": ("1.0", "3/4", "1/2"),
            "batch_size": 8,
            "num_train_epochs": 1,
            "logging_steps": 2,
            "save_steps": 3,
            **data_flags(work),
            **changes,
        }
    )


def export_argv(source, output, **changes):
    return flags(
        model_name_or_path=source,
        sub_model_output_dir=output,
        n_gpu=0,
        log_level="warning",
        **changes,
    )


@pytest.fixture(scope="module")
def teacher(work):
    result = run(cli.main, finetune_argv(work, work / "teacher"))
    assert result.code == 0, result.err
    return work / "teacher", result


@pytest.fixture(scope="module")
def supernet(work, teacher):
    result = run(run_glue_ofa.main, ofa_argv(work, work / "supernet"))
    assert result.code == 0, result.err
    return work / "supernet", result


@pytest.fixture(scope="module")
def exported(work, supernet):
    directory, _ = supernet
    argv = export_argv(
        directory,
        work / "dynamic",
        static_sub_model=work / "static",
        width_mult=("1.0", "1/2"),
        max_seq_length=MAX_SEQ_LENGTH,
    )
    result = run(export_model.main, argv)
    assert result.code == 0, result.err
    return work, result


def logits_of(model, texts):
    """Logits of each text, in NumPy, from tokens cut to the maximal length."""
    vocab, rows = tiny_vocab(), []
    for text in texts:
        kept = text.split()[: MAX_SEQ_LENGTH - 2]
        ids = np.array([[vocab.index(token) for token in ["[CLS]", *kept, "[SEP]"]]])
        batch = {
            "input_ids": ids,
            "token_type_ids": np.zeros_like(ids),
            "attention_mask": np.ones_like(ids),
        }
        rows.append(bert_of(model, batch)[0][0])
    return np.stack(rows)


def dev_accuracy(work, model):
    rows = [line.split("\t") for line in (work / "dev.tsv").read_text().splitlines()[1:]]
    answers = logits_of(model, [text for text, _ in rows]).argmax(-1)
    return accuracy_score([LABELS.index(label) for _, label in rows], answers)


def tree(folder):
    """Everything below a folder, with contents."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def read_results(folder):
    return json.loads((folder / "results.json").read_text())


def supernet_with(supernet, folder, **changes):
    """A copy of the supernet whose run had other settings."""
    shutil.copytree(supernet[0], folder / "supernet")
    path = folder / "supernet" / "train_config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))
    return folder / "supernet"


# What each command makes


def test_finetune_keeps_its_best_and_says_its_score(work, teacher):
    folder, result = teacher
    model = load_model(folder)
    accuracy = dev_accuracy(work, model)
    results = read_results(folder)
    assert results["scores"] == {"full": {"accuracy": accuracy, "score": accuracy}}
    assert f"own: accuracy {accuracy:.4f}, score {accuracy:.4f}" in result.out
    assert model.config.labels == LABELS
    assert (model.config.task_name, model.config.max_seq_length) == ("own", MAX_SEQ_LENGTH)
    # 26 rows by 5 are 6 steps an epoch, 2 epochs; saved and evaluated at 4, 8, 12.
    assert results["kept_step"] in (4, 8, 12)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4, 6, 8, 10, 12]
    assert not (folder / "checkpoints").exists()
    before = weights_of(load_model(work / "base"))
    assert any(not np.array_equal(w, before[n]) for n, w in weights_of(model).items())


def test_the_model_that_is_read_is_not_written(work, teacher, supernet):
    names = {"config.json", "model.safetensors", "vocab.txt"}
    assert tree(work / "base").keys() - names <= {"tokenizer.json", "tokenizer_config.json"}
    assert "supernet.json" not in tree(work / "teacher")


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


def test_a_teacher_that_is_never_right_is_a_warning(work, teacher, tmp_path):
    texts = sentences(6, seed=5)
    answers = logits_of(load_model(teacher[0]), texts).argmax(-1)
    rows = [f"{text}\t{LABELS[1 - answer]}\n" for text, answer in zip(texts, answers, strict=True)]
    dev = data_file(tmp_path, "sentence\tlabel\n" + "".join(rows))
    argv = ofa_argv(work, tmp_path / "out", dev_file=dev, width_mult_list="1.0", max_steps=1)
    result = run(run_glue_ofa.main, argv)
    assert result.code == 0, result.err
    assert "the teacher's accuracy on dev is 0.0000, below" in result.err


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


def test_evaluate_scores_a_model_or_each_width(work, supernet, exported):
    def scores(folder):
        # The data flags are those of the run that made it; a sub-model's card knows no files.
        argv = flags(**data_flags(work, train_file=None), model_name_or_path=folder)
        result = run(cli.main, ["evaluate", *argv])
        assert result.code == 0, result.err
        return dict(re.findall(r"^(.*): accuracy ([\d.]+), score", result.out, re.MULTILINE))

    accuracy = {
        width_mult: f"{dev_accuracy(work, extract(m, subnet_at_width(m.config, width_mult))):.4f}"
        for m in [load_model(supernet[0])]
        for width_mult in WIDTHS
    }
    assert scores(supernet[0]) == {f"width {w}": value for w, value in accuracy.items()}
    assert scores(work / "dynamic" / "width_mult_0.5") == {"model": accuracy[0.5]}


def long_dev_set(work, teacher, folder):
    """Rows for three batches, and the command line that scores the teacher on them."""
    write_rows(folder / "dev.tsv", 2 * EVALUATION_BATCH_SIZE + 5, seed=5)
    changes = {"dev_file": folder / "dev.tsv", "train_file": None}
    return ["evaluate", *flags(**data_flags(work, **changes), model_name_or_path=teacher[0])]


def test_evaluate_in_two_processes_prints_once(work, teacher, tmp_path, monkeypatch):
    argv = long_dev_set(work, teacher, tmp_path)
    launches = []
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "choose_device", lambda device, n_gpu: ("gpu", 2))
        patch.setattr(distributed, "launch", lambda *what: launches.append(what) or 3)
        assert run(cli.main, argv).code == 3
    ((launched, again, processes),) = launches
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PADDLE_")}
    command = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(processes)]
    result = subprocess.run(
        [sys.executable, *command, "--log_dir", str(tmp_path / "log"), launched, *again],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        timeout=500,
    )
    logs = [(tmp_path / "log" / f"workerlog.{rank}").read_text() for rank in (0, 1)]
    assert result.returncode == 0, logs
    accuracy = dev_accuracy(tmp_path, load_model(teacher[0]))
    said = f"model: accuracy {accuracy:.4f}, score {accuracy:.4f}"
    assert [log.count(said) for log in logs] == [1, 0]
    assert "accuracy" not in logs[1]


def test_a_process_evaluates_its_share_of_the_rows(work, teacher, tmp_path, monkeypatch, capsys):
    argv = long_dev_set(work, teacher, tmp_path)[1:]
    configs = parse_args(evaluate.NAME, "", evaluate.GROUPS, argv)
    shares = []

    def gather_rows(values, indices, ranks):
        shares.append(len(indices))
        return np.zeros((2 * EVALUATION_BATCH_SIZE + 5, 2), "float32")

    monkeypatch.setattr("ofa_bert.evaluate.gather_rows", gather_rows)
    for rank in (0, 1):
        evaluate.evaluate(configs, distributed.Ranks(rank, 2))
        assert ("accuracy" in capsys.readouterr().out) == (rank == 0)
    assert shares == [EVALUATION_BATCH_SIZE + 5, EVALUATION_BATCH_SIZE]


def test_rows_that_are_typed_win_over_those_of_the_run(work, supernet, exported, tmp_path):
    other = supernet_with(supernet, tmp_path, data_dir="gone", train_file=None, dev_file=None)
    argv = flags(model_name_or_path=other, dev_file=work / "dev.tsv", n_gpu=0, log_level="warning")
    result = run(cli.main, ["evaluate", *argv])
    assert result.code == 0, result.err
    accuracy = dev_accuracy(work, load_model(supernet[0]))
    assert f"width 1.0: accuracy {accuracy:.4f}" in result.out
    argv = export_argv(other, tmp_path / "dynamic", dev_file=work / "dev.tsv")
    result = run(export_model.main, argv)
    assert result.code == 0, result.err
    assert "parity on 11 rows of the dev set" in result.out


def test_a_sub_model_is_evaluated_at_the_length_it_was_trained_for(work, exported):
    sub_model = work / "dynamic" / "width_mult_0.5"
    values = data_flags(work, task_name=None, train_file=None, max_seq_length=None)
    result = run(cli.main, ["evaluate", *flags(**values, model_name_or_path=sub_model)])
    assert result.code == 0, result.err
    assert f"model: accuracy {dev_accuracy(work, load_model(sub_model)):.4f}" in result.out


def test_parity_is_checked_on_random_rows_where_the_runs_own_are_gone(supernet, tmp_path):
    other = supernet_with(supernet, tmp_path, dev_file=str(tmp_path / "gone.tsv"))
    result = run(export_model.main, export_argv(other, tmp_path / "dynamic"))
    assert result.code == 0, result.err
    assert "parity is checked on random ids, not on the dev set: data file must" in result.err
    assert "parity on 16 random rows, largest" in result.out


def expected_answers(work, texts):
    probabilities = softmax(logits_of(load_model(work / "dynamic" / "width_mult_0.5"), texts))
    return [(LABELS[p.argmax()], p.max()) for p in probabilities]


def check_answers(out, expected):
    found = [line.split("\t") for line in out.splitlines()]
    assert [label for label, _ in found] == [label for label, _ in expected]
    # Four decimals are printed.
    assert [float(p) for _, p in found] == pytest.approx([p for _, p in expected], abs=1e-4)


def test_predict_labels_a_file_in_order(exported, tmp_path):
    work, _ = exported
    texts = sentences(9, seed=3)
    (tmp_path / "in.txt").write_text("\n".join(texts) + "\n")
    model = work / "static" / "width_mult_0.5"
    argv = flags(model=model, input=tmp_path / "in.txt", batch_size=4)
    result = run(cli.main, ["predict", *argv])
    assert (result.code, result.err) == (0, "")
    check_answers(result.out, expected_answers(work, texts))


def test_predict_labels_standard_input(exported):
    work, _ = exported
    texts = sentences(5, seed=4)
    argv = ["predict", *flags(model=work / "static" / "width_mult_0.5")]
    result = script("-m", "ofa_bert", *argv, stdin="\n".join(texts))
    assert (result.returncode, result.stderr) == (0, "")
    check_answers(result.stdout, expected_answers(work, texts))


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


@pytest.mark.parametrize("stop_after", [4, 12])  # 12 is the last: only the results are missing
def test_a_stopped_run_resumes_to_the_same_bits(work, teacher, tmp_path, monkeypatch, stop_after):
    save = Checkpoints.save

    def save_and_stop(self, step, *args, **kwargs):
        save(self, step, *args, **kwargs)
        if step == stop_after:
            raise KeyboardInterrupt

    argv = finetune_argv(work, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            run(cli.main, argv)
    assert not (tmp_path / "run" / "results.json").exists()
    refused = run(cli.main, argv)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "holds an unfinished run; pass --resume" in refused.err
    resumed = run(cli.main, [*argv, "--resume"])
    assert resumed.code == 0, resumed.err
    for name, values in weights_of(load_model(teacher[0])).items():
        np.testing.assert_array_equal(weights_of(load_model(tmp_path / "run"))[name], values)
    assert read_results(tmp_path / "run")["own_best"] == read_results(teacher[0])["own_best"]


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


# Bad input


def teacher_copy(work, folder, damage):
    """A copy of the teacher with one file changed."""
    shutil.copytree(work / "teacher", folder / "model")
    damage(folder / "model")
    return folder / "model"


def truncate(model):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(model):
    (model / "model.safetensors").write_bytes(b"")


def data_file(folder, text):
    (folder / "data.tsv").write_text(text)
    return folder / "data.tsv"


def empty_directory(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


ROW = "w1\tbad\nw2\tgood\n"
OFA_MISTAKES = {
    "unknown model type": (
        lambda work, at: {"model_type": "bertt"},
        r"model_type 'bertt' is unknown; did you mean 'bert'\?",
    ),
    "unknown task": (
        lambda work, at: {
            "task_name": "SST-3",
            "data_dir": at,
            "train_file": None,
            "dev_file": None,
        },
        r"task_name must be a GLUE task; got 'SST-3'; did you mean 'SST-2'\?",
    ),
    "unknown flag": (
        lambda work, at: {"learning_rte": 1},
        r"unknown argument '--learning_rte'; did you mean --learning_rate\?",
    ),
    "missing flag": (lambda work, at: {"output_dir": None}, r"missing --output_dir"),
    "missing checkpoint": (
        lambda work, at: {"model_name_or_path": at / "gone"},
        r"model directory .*gone.* does not exist; check the path",
    ),
    "empty checkpoint directory": (
        lambda work, at: {"model_name_or_path": empty_directory(at)},
        r"model directory .*empty must hold a model; it is empty",
    ),
    "empty checkpoint": (
        lambda work, at: {"model_name_or_path": teacher_copy(work, at, empty)},
        r"model\.safetensors cannot be read, it is damaged or cut short .*; copy or download it",
    ),
    "truncated checkpoint": (
        lambda work, at: {"model_name_or_path": teacher_copy(work, at, truncate)},
        r"model\.safetensors cannot be read, it is damaged or cut short .*; copy or download it",
    ),
    "output in the model's directory": (
        lambda work, at: {"output_dir": work / "teacher", "overwrite_output_dir": True},
        r"output_dir must not be the directory of the model",
    ),
    "missing data file": (
        lambda work, at: {"train_file": at / "gone.tsv"},
        r"data file must exist; got .*gone\.tsv, which does not",
    ),
    "empty data file": (
        lambda work, at: {"dev_file": data_file(at, "")},
        r"data file must hold rows; got .*data\.tsv, which is empty",
    ),
    "no rows": (
        lambda work, at: {"dev_file": data_file(at, "sentence\tlabel\n")},
        r"data\.tsv must hold at least one good row; got 0 malformed",
    ),
    "missing column": (
        lambda work, at: {"train_file": data_file(at, f"sentense\tlabel\n{ROW}")},
        r"data\.tsv must have a column 'sentence'; .* did you mean 'sentense'\?",
    ),
    "too few fields": (
        lambda work, at: {"train_file": data_file(at, f"sentence\tlabel\n{ROW}w3\n")},
        r"data\.tsv, line 4: row must have 2 fields; got 1; mend it, or pass --skip_bad_rows",
    ),
    "label out of range": (
        lambda work, at: {"dev_file": data_file(at, f"sentence\tlabel\n{ROW}w1\tugly\n")},
        r"data\.tsv, line 4: label must be one of bad, good; got 'ugly'",
    ),
    "labels of another task": (
        lambda work, at: {
            "train_file": data_file(at, "sentence\tlabel\nw1\tno\nw2\tyes\n"),
            "dev_file": at / "data.tsv",
        },
        r"labels of the model must be those of the data; got \['bad', 'good'\]",
    ),
    "width 0": (
        lambda work, at: {"width_mult_list": ("1.0", "0")},
        r"width_mult must be above 0 and at most 1; got 0",
    ),
    "width above 1": (
        lambda work, at: {"width_mult_list": ("1.0", "3/2")},
        r"width_mult must be above 0 and at most 1; got 1\.5",
    ),
    "width that is none": (
        lambda work, at: {"width_mult_list": ("1.0", "half")},
        r"width_mult must be a number or a fraction; got 'half'",
    ),
    "no width 1": (
        lambda work, at: {"width_mult_list": ("0.75", "0.5")},
        r"width_mult_list must contain 1\.0, the full supernet; got \[0\.75, 0\.5\]",
    ),
    "two equal widths": (
        lambda work, at: {"width_mult_list": ("1.0", "0.51", "0.5")},
        r"widths 0\.51 and 0\.5 are the same sub-network \(2 layers, 2 heads, 12 neurons\)",
    ),
    "finished run": (
        lambda work, at: {"output_dir": work / "supernet"},
        r"output_dir .*supernet holds a finished run; pass --overwrite_output_dir",
    ),
    "nothing to resume": (
        lambda work, at: {"resume": True},
        r"output_dir .*out holds no run to resume; leave out --resume",
    ),
    "output in a file": (
        lambda work, at: {"output_dir": work / "dev.tsv" / "out"},
        r"output_dir .*dev\.tsv/out cannot be written: Not a directory",
    ),
    "too long": (
        lambda work, at: {"max_seq_length": 21},
        r"max_seq_length must be at most 20, the model's positions; got 21",
    ),
    "broken config": (
        lambda work, at: {"config": data_file(at, "batch_sise: 3")},
        r"config .*data\.tsv: unknown key 'batch_sise'; did you mean 'batch_size'\?",
    ),
    "GPU that is not there": (
        lambda work, at: {"n_gpu": 1},
        r"n_gpu 1 asks for more than the 0 GPUs found; pass --n_gpu 0",
    ),
    "device that is not there": (
        lambda work, at: {"device": "gpu:0"},
        r"device 'gpu:0' is not there; found 0 GPUs; pass --device cpu",
    ),
    "bf16 on a CPU": (
        lambda work, at: {"precision": "bf16"},
        r"precision bf16 trains on a GPU; got device cpu, .*: pass --precision fp32",
    ),
}


def check_mistake(main, argv, message, *unchanged):
    """One line on standard error that says what is wrong, code 2, and nothing written."""
    before = [tree(folder) for folder in unchanged]
    result = run(main, argv)
    assert result.code == 2
    assert result.err.startswith("error: ")
    assert result.err.endswith("\n")
    assert result.err.count("\n") == 1, result.err
    assert re.search(message, result.err), result.err
    assert result.out == ""
    assert [tree(folder) for folder in unchanged] == before


@pytest.mark.parametrize("case", OFA_MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(work, teacher, supernet, tmp_path, case):
    if "not there" in case and paddle.is_compiled_with_cuda():
        pytest.skip("there may be a GPU")
    changes, message = OFA_MISTAKES[case]
    argv = ofa_argv(work, tmp_path / "out", **changes(work, tmp_path))
    check_mistake(run_glue_ofa.main, argv, message, work, tmp_path)


EXPORT_MISTAKES = {
    "rows that are not there": (
        lambda work, at: {"dev_file": at / "gone.tsv"},
        r"data file must exist; got .*gone\.tsv, which does not",
    ),
    "no directory of rows": (
        lambda work, at: {"task_name": "SST-2", "data_dir": at / "gone"},
        r"data_dir must be a directory; got .*gone",
    ),
    "no supernet": (
        lambda work, at: {"model_name_or_path": work / "teacher"},
        r"teacher holds no supernet\.json: it is not a supernet; make one with run_glue_ofa",
    ),
    "missing supernet": (
        lambda work, at: {"model_name_or_path": at / "gone"},
        r"gone.* does not exist; check the path",
    ),
    "width above 1": (
        lambda work, at: {"width_mult": "1.5"},
        r"width_mult must be above 0 and at most 1; got 1\.5",
    ),
    "two equal widths": (
        lambda work, at: {"width_mult": ("0.5", "0.51")},
        r"widths 0\.51 and 0\.5 are the same sub-network",
    ),
    "a directory with something else": (
        lambda work, at: {"sub_model_output_dir": work / "teacher"},
        r"sub-model directory must be new, empty or an earlier export; got .*teacher",
    ),
    "too long": (
        lambda work, at: {"max_seq_length": 21},
        r"max_seq_length must be 3 to 20, the model's positions; got 21; type --max_seq_length 20",
    ),
    "two directories in one": (
        lambda work, at: {"static_sub_model": at / "out" / "static"},
        r"must be two directories, neither within the other",
    ),
}


@pytest.mark.parametrize("case", EXPORT_MISTAKES)
def test_a_mistake_of_an_export(work, supernet, tmp_path, case):
    changes, message = EXPORT_MISTAKES[case]
    values = {
        "model_name_or_path": supernet[0],
        "sub_model_output_dir": tmp_path / "out",
        "n_gpu": 0,
        "log_level": "warning",
    }
    argv = flags(**{**values, **changes(work, tmp_path)})
    check_mistake(export_model.main, argv, message, work, tmp_path)


OTHER_MISTAKES = {
    "unknown command": (
        lambda work, at: ["finetunes"],
        r"unknown command 'finetunes'; did you mean 'finetune'\?",
    ),
    "no graph": (
        lambda work, at: ["predict", *flags(model=work / "teacher", input=work / "dev.tsv")],
        r"static model directory must hold deploy\.json; got .*teacher, which does not; write",
    ),
    "no input": (
        lambda work, at: [
            "predict",
            *flags(model=work / "static" / "width_mult_0.5", input=at / "gone"),
        ],
        r"input .*gone cannot be read: No such file or directory",
    ),
    "nothing to evaluate": (
        lambda work, at: [
            "evaluate",
            *flags(model_name_or_path=at / "gone", n_gpu=0, log_level="warning"),
        ],
        r"model directory .*gone.* does not exist; check the path",
    ),
    "teacher of another size": (
        lambda work, at: finetune_argv(
            work,
            at / "out",
            model_name_or_path=work / "teacher",
            train_file=data_file(at, "sentence\tlabel\nw1\ta\nw2\tb\nw3\tc\n"),
            dev_file=at / "data.tsv",
        ),
        r"num_classes must be 2, the size of the classifier in .*teacher; got 3",
    ),
}


@pytest.mark.parametrize("case", OTHER_MISTAKES)
def test_a_mistake_of_another_command(work, exported, tmp_path, case):
    argv, message = OTHER_MISTAKES[case]
    check_mistake(cli.main, argv(work, tmp_path), message, work, tmp_path)


def test_a_loss_that_is_no_number_names_the_step_and_keeps_the_checkpoint(work, tmp_path):
    # The first step moves every weight by 1e30 or so; the second sees what came of it.
    argv = finetune_argv(work, tmp_path / "run", learning_rate=1e30, save_steps=1)
    result = run(cli.main, argv)
    assert result.code == 2
    last = result.err.splitlines()[-1]
    expected = r"^error: loss label of full is (nan|inf) at step 2 \(training rows \[.*\]\); "
    assert re.match(expected, last), result.err
    assert result.err.count("error: ") == 1
    assert "Traceback" not in result.err
    assert tree(tmp_path / "run" / "checkpoints").keys() >= {"step_1", "step_1/model.safetensors"}
    assert not (tmp_path / "run" / "results.json").exists()


def script(*argv, stdin=""):
    return subprocess.run(
        [sys.executable, *argv],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )


def test_the_script_itself_says_a_mistake_in_one_line(work, tmp_path):
    argv = ofa_argv(work, tmp_path / "out", model_name_or_path=tmp_path / "gone")
    result = script("run_glue_ofa.py", *argv)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: model directory ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_debug_shows_the_traceback(work, tmp_path):
    argv = ofa_argv(work, tmp_path / "out", train_file=tmp_path / "gone.tsv", log_level="debug")
    result = run(run_glue_ofa.main, argv)
    assert result.code == 2
    assert "Traceback (most recent call last):" in result.err
    assert result.err.splitlines()[-1].startswith("error: data file must exist")


def test_debug_in_a_yaml_file_shows_the_traceback_too(work, tmp_path):
    (tmp_path / "c.yaml").write_text("log_level: debug\n")
    changes = {"config": tmp_path / "c.yaml", "log_level": None}
    argv = ofa_argv(work, tmp_path / "out", train_file=tmp_path / "gone.tsv", **changes)
    result = run(run_glue_ofa.main, argv)
    assert result.code == 2
    assert "Traceback (most recent call last):" in result.err


def test_a_directory_named_debug_shows_none(work, tmp_path):
    argv = ofa_argv(work, "debug", train_file=tmp_path / "gone.tsv")
    check_mistake(run_glue_ofa.main, argv, r"data file must exist", work)


def test_too_little_memory_for_a_command_without_batches_is_one_line():
    def main(argv):
        raise MemoryError

    result = run(main, [])
    assert (result.code, result.out) == (2, "")
    expected = "error: out of memory; end other programs, or use a machine with more memory\n"
    assert result.err == expected
