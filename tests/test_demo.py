import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ofa_bert.commands.demo import (
    DemoConfig,
    demo_commands,
    main,
    prepare_folder,
    results_table,
    run_aloud,
    script_path,
)
from ofa_bert.data.demo import SHOWN
from ofa_bert.errors import InputError

ROOT = Path(__file__).parent.parent


def test_the_demo_runs_from_end_to_end(tmp_path):
    folder = tmp_path / "a demo"  # with a space
    command = [sys.executable, "-m", "ofa_bert", "demo", "--output_dir", str(folder)]
    run = subprocess.run(
        [*command, "--max_steps", "2"],
        cwd=ROOT,
        env={**os.environ, "OFA_BERT_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    for name in (
        "data/train.tsv",
        "data/dev.tsv",
        "base/config.json",
        "base/model.safetensors",
        "base/vocab.txt",
        "teacher/model.safetensors",
        "supernet/supernet.json",
        "dynamic/config.json",
        "static/model.json",
        "static/deploy.json",
    ):
        assert (folder / name).stat().st_size > 0, name
    assert json.loads((folder / "dynamic/config.json").read_text())["num_attention_heads"] == 6
    assert all(text in run.stdout for text in SHOWN)
    # run_glue_ofa.py prints the table, and the demo again at its end.
    table = results_table(folder / "supernet")
    assert [line.split()[1] for line in table.splitlines()[2:]] == [
        "1.0",
        "0.8333",
        "0.6667",
        "0.5",
    ]
    assert run.stdout.count(table) == 2
    assert "step/s" in run.stderr  # the progress bars

    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "holds a demo; pass --overwrite_output_dir to replace it" in again.stderr


def config_for(folder, **changes):
    return DemoConfig(output_dir=str(folder), **changes)


def test_overwriting_removes_what_a_demo_made_and_nothing_else(tmp_path):
    prepare_folder(tmp_path, config_for(tmp_path))
    for name in ("data/train.tsv", "notes.txt"):
        (tmp_path / name).write_text("old")
    with pytest.raises(InputError, match="holds a demo; pass --overwrite_output_dir"):
        prepare_folder(tmp_path, config_for(tmp_path))
    prepare_folder(tmp_path, config_for(tmp_path, overwrite_output_dir=True))
    left = sorted(path.name for path in tmp_path.rglob("*"))
    assert left == ["data", "demo.json", "notes.txt"]


def test_other_files_are_not_written_beside_unasked(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files; pass --overwrite_output_dir"):
        prepare_folder(tmp_path, config_for(tmp_path))
    prepare_folder(tmp_path, config_for(tmp_path, overwrite_output_dir=True))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_data_that_no_demo_made_is_never_removed(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="holds data, which no demo made"):
        prepare_folder(tmp_path, config_for(tmp_path, overwrite_output_dir=True))
    assert (tmp_path / "data").is_dir()


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path):
    folder, elsewhere = tmp_path / "demo", tmp_path / "elsewhere"
    prepare_folder(folder, config_for(folder))
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    (folder / "teacher").symlink_to(elsewhere)
    prepare_folder(folder, config_for(folder, overwrite_output_dir=True))
    assert (elsewhere / "mine").read_text() == "mine"
    assert not os.path.lexists(folder / "teacher")


def test_a_file_is_no_output_dir(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(InputError, match=r"output_dir .* is a file; name a directory"):
        prepare_folder(path, config_for(path))


def test_a_command_that_fails_is_named():
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    with pytest.raises(InputError, match=r"ended with code 3: .* -c 'raise SystemExit\(3\)'"):
        run_aloud(command, os.environ)


def test_the_scripts_are_those_of_the_project():
    assert Path(script_path("run_glue_ofa")) == ROOT / "run_glue_ofa.py"
    with pytest.raises(InputError, match=r"no_such_script\.py must lie where Python finds it"):
        script_path("no_such_script")


def test_the_commands_name_the_demos_own_folders(tmp_path):
    finetune, compress, export = demo_commands(config_for(tmp_path, seed=7))
    assert finetune[2:5] == ["-m", "ofa_bert", "finetune"]
    widths = compress.index("--width_mult_list")
    assert compress[widths + 1 : widths + 5] == ["1.0", "5/6", "2/3", "1/2"]
    for command, source in [(finetune, "base"), (compress, "teacher"), (export, "supernet")]:
        place = command.index("--model_name_or_path")
        assert command[place + 1] == str(tmp_path / source)
    assert finetune[finetune.index("--seed") + 1] == "7"


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (["--max_steps", "0"], "max_steps must be at least 1, or -1 for no limit; got 0"),
        (["--seed", "-1"], "seed must not be negative; got -1"),
        (["--outptu_dir", "x"], "unknown argument '--outptu_dir'; did you mean --output_dir"),
    ],
)
def test_bad_flags_are_named(tmp_path, flag, message):
    with pytest.raises(InputError, match=message):
        main(["--output_dir", str(tmp_path), *flag])
