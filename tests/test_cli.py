"""Which command is which, and how it is typed."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import export_model
from ofa_bert import cli

ROOT = Path(__file__).parent.parent


def test_the_installed_command_is_the_same_as_python_m(monkeypatch, capsys):
    project = (ROOT / "pyproject.toml").read_text()
    module, name = re.findall(r'\[project\.scripts\]\nofa_bert = "(.*):(.*)"\n', project)[0]
    script = getattr(importlib.import_module(module), name)
    monkeypatch.setattr("sys.argv", ["ofa_bert"])
    with pytest.raises(SystemExit) as end:
        script()
    assert (end.value.code, capsys.readouterr().out) == (0, cli.usage() + "\n")
    monkeypatch.setattr("sys.argv", ["ofa_bert", "finetunes"])
    with pytest.raises(SystemExit) as end:
        script()
    assert end.value.code == 2
    assert "unknown command 'finetunes'; did you mean 'finetune'?" in capsys.readouterr().err


def test_what_is_said_to_type_works_in_a_checkout():
    """Without installation there is no command of the name ``ofa_bert``."""
    named = re.compile(rf"(?<!python -m )ofa_bert ({'|'.join(cli.COMMANDS)})\b")
    for path in [*(ROOT / "ofa_bert").rglob("*.py"), *ROOT.glob("*.py")]:
        assert named.findall(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_shows_how_it_is_typed(name, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: python -m ofa_bert {name} ")
    assert "--log_level" in shown


@pytest.mark.parametrize(("main", "argv"), [(cli.main, ["evaluate"]), (export_model.main, [])])
def test_help_names_no_default_of_data_that_does_not_hold(main, argv, capsys):
    with pytest.raises(SystemExit):
        main([*argv, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "longer texts are cut (default: the run's)" in shown
    assert "custom" not in shown
