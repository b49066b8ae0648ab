"""Bad input: one line on standard error, exit code 2, and nothing half-written."""

from __future__ import annotations

import shutil

import pytest

import run_glue_ofa
from tests.commands.expected import data_file, script
from tests.commands.mistakes import check_mistake
from tests.runs import ofa_argv

import paddle  # isort: skip


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
        lambda work, at: {"output_dir": work / "teacher"},  # which holds a finished run too
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
    "finished run, and a model that is not there": (  # which would be read later
        lambda work, at: {"output_dir": work / "supernet", "model_name_or_path": at / "gone"},
        r"output_dir .*supernet holds a finished run; pass --overwrite_output_dir",
    ),
    "finished run to resume": (
        lambda work, at: {
            "output_dir": work / "supernet",
            "resume": True,
            "model_name_or_path": at / "gone",
        },
        r"supernet holds a finished run; there is nothing to resume; to train its model on, name "
        r"it in --model_name_or_path, with another --output_dir",
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
    "a warm-up longer than the run": (
        lambda work, at: {"max_steps": 4, "warmup_steps": 100},
        r"warmup_steps must be below 4, the steps of the run; got 100",
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


@pytest.mark.parametrize("case", OFA_MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(work, teacher, supernet, tmp_path, case):
    if "not there" in case and paddle.is_compiled_with_cuda():
        pytest.skip("there may be a GPU")
    changes, message = OFA_MISTAKES[case]
    argv = ofa_argv(work, tmp_path / "out", **changes(work, tmp_path))
    check_mistake(run_glue_ofa.main, argv, message, work, tmp_path)


def test_the_script_itself_says_a_mistake_in_one_line(work, tmp_path):
    argv = ofa_argv(work, tmp_path / "out", model_name_or_path=tmp_path / "gone")
    result = script("run_glue_ofa.py", *argv)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: model directory ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
