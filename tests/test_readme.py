"""What README shows runs as it stands, and the Chinese README shows the same."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import export_model
import run_glue_ofa
from ofa_bert.arguments import parse_args
from ofa_bert.checkpoint.load import load_model
from ofa_bert.checkpoint.save import save_model
from ofa_bert.commands import evaluate, finetune
from ofa_bert.commands.predict import PredictConfig
from tests.tiny import tiny_config, tiny_model, tiny_tokenizer, tiny_vocab

ROOT = Path(__file__).resolve().parents[1]
README, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def code_blocks(path):
    return FENCE.findall(path.read_text(encoding="utf-8"))


def python_blocks():
    return [code for language, code in code_blocks(README) if language == "python"]


def write_sst2(directory, generator, num_rows):
    """Write SST-2's two files: random words, and a label that one of them decides."""
    directory.mkdir()
    words = [token for token in tiny_vocab() if token.startswith("w")]
    for name in ("train.tsv", "dev.tsv"):
        sentences = [generator.choice(words, generator.integers(3, 9)) for _ in range(num_rows)]
        rows = [f"{' '.join(sentence)}\t{int('w1' in sentence)}" for sentence in sentences]
        (directory / name).write_text("\n".join(["sentence\tlabel", *rows]) + "\n", "utf-8")


def run_beside_teacher_and_data(code, directory):
    """Run code in a fresh process, in a directory that holds what README's text says is there."""
    config = tiny_config(num_heads=6, head_dim=2, num_classes=2)
    tokenizer = tiny_tokenizer(directory / "teacher")
    save_model(tiny_model(config), directory / "teacher", tokenizer)
    write_sst2(directory / "data", np.random.default_rng(0), num_rows=40)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OFA_BERT_CACHE": str(directory / "cache"),
        "MKL_NUM_THREADS": "1",  # a tiny model gains nothing from two that wait for each other
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("code", python_blocks(), ids=lambda code: code.splitlines()[0])
def test_a_python_block_runs(code, tmp_path):
    done = run_beside_teacher_and_data(code, tmp_path)
    assert done.returncode == 0, done.stderr

    scores, answers = done.stdout.splitlines()
    assert list(ast.literal_eval(scores)) == ["width_1.0", "width_0.6667", "width_0.5"]
    assert len(re.findall(r"Prediction\(label='[01]', score=0\.", answers)) == 2
    # Half of 6 heads and of 24 neurons, in each of the 2 layers.
    small = load_model(tmp_path / "small").config
    assert (small.num_attention_heads, small.intermediate_size) == ((3, 3), (12, 12))
    made = {path.name for path in tmp_path.iterdir()} - {"teacher", "data", "cache"}
    assert made == {"small", "static"}


def test_readme_has_one_python_block_of_about_fifteen_statements():
    (code,) = python_blocks()
    assert 13 <= sum(isinstance(node, ast.stmt) for node in ast.walk(ast.parse(code))) <= 18


def shell_commands():
    """Give README's Python command lines, split as a shell does."""
    text = "".join(code for language, code in code_blocks(README) if not language)
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("python ")]


@pytest.mark.parametrize(
    ("script", "groups"),
    [
        ("finetune", finetune.GROUPS),
        ("./run_glue_ofa.py", run_glue_ofa.GROUPS),
        ("./export_model.py", export_model.GROUPS),
        ("predict", [PredictConfig]),
        ("evaluate", evaluate.GROUPS),
    ],
)
def test_the_flags_of_a_command_are_known(script, groups):
    (command,) = [command for command in shell_commands() if script in command]
    parse_args(script, "", groups, command[command.index(script) + 1 :])


def demo_table(path):
    return path.read_text("utf-8").partition("<!-- demo table -->\n")[2].partition("\n\n")[0]


def test_the_chinese_readme_shows_the_same_blocks_and_table():
    assert code_blocks(CHINESE) == code_blocks(README)
    assert demo_table(CHINESE) == demo_table(README) != ""


def commands_and_links(path):
    """Collect what stands in backquotes or behind links, outside blocks."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    return set(re.findall(r"`([^`]+)`", text)), set(re.findall(r"\]\(([^)]+)\)", text))


def test_the_chinese_readme_names_the_same_commands_and_documents():
    (ours, our_links), (theirs, their_links) = map(commands_and_links, (README, CHINESE))
    assert theirs == ours
    assert their_links - {"README.md"} == our_links - {"README.zh-CN.md"}
