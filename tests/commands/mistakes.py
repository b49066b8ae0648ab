"""How a command says a mistake, whichever it is."""

from __future__ import annotations

import re

from tests.commands.expected import tree
from tests.runs import run


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
