"""Arrows point one way, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ofa_bert

ROOT = Path(__file__).parent.parent
SCRIPTS = ("run_glue_ofa", "export_model")

# A module may import from rows above its own, and from its own room. A room is a package; an entry
# of more words wins over its package's.
ROWS = (
    ("safe_text",),
    ("errors",),
    ("settings_file", "durable", "fingerprint", "run_lock", "stopping", "streams", "rules"),
    ("places", "runtime", "rounding", "widths", "model_config"),
    ("config", "scores", "metrics", "metrics_log", "distributed"),
    ("__init__",),  # the version, and public names, which it imports when they are asked for
    ("arguments", "subnet", "deploy", "width_folders", "optimizer", "training_state", "cli"),
    ("crash", "diagnosis"),
    ("nn", "report", "checkpointing", "command", "run_identity"),
    ("checkpoint",),
    ("data", "safe_graph", "executor", "integrations"),
    ("distill", "precision", "task", "evaluate", "predictor", "provenance"),
    ("importance", "training", "run_folder"),
    ("run_importance", "reordering", "extraction"),
    ("supernet", "ofa", "remembered"),
    ("export",),
    ("results",),
    ("commands",),
    ("__main__", *SCRIPTS),
)
ROW_OF = {entry: number for number, row in enumerate(ROWS) for entry in row}
BY_PUBLIC_NAME = ("commands", *SCRIPTS)
"""What uses the package as a notebook does: ``import ofa_bert as ofa``."""


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts == ("ofa_bert", "__init__"):
        return "__init__"
    return ".".join(parts).removeprefix("ofa_bert.").removesuffix(".__init__")


SOURCES = {
    module_name(path): path
    for path in [*(ROOT / "ofa_bert").rglob("*.py"), *(ROOT / f"{s}.py" for s in SCRIPTS)]
}


def entry_of(module):
    """Give the longest entry of the table that a module falls under."""
    words = module.split(".")
    while words and ".".join(words) not in ROW_OF:
        words.pop()
    return ".".join(words)


def imports_in(source):
    """Give module and name of all that a source imports, at its top or within functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((node.module, alias.name) for alias in node.names)


def imports_of(source):
    """Give the modules of ours that a source imports."""
    found = set()
    for module, name in imports_in(source):
        full = f"{module}.{name}"
        found.add(full if full.removeprefix("ofa_bert.") in SOURCES else module)
    ours = {name for name in found if name.split(".")[0] in ("ofa_bert", *SCRIPTS)}
    return {"__init__" if n == "ofa_bert" else n.removeprefix("ofa_bert.") for n in ours}


def test_the_reader_of_imports_sees_them_all():
    source = """
import ofa_bert
from ofa_bert import runtime
from ofa_bert.nn import bert
def f():
    from ofa_bert.nn.linear import ElasticLinear
    import numpy, ofa_bert.data.cache
"""
    assert imports_of(source) == {"__init__", "runtime", "nn.bert", "nn.linear", "data.cache"}


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_imports_point_upwards(module):
    entry = entry_of(module)
    assert entry, f"{module} stands in no row: add it to ROWS"
    wrong = [
        imported
        for imported in sorted(imports_of(SOURCES[module].read_text(encoding="utf-8")))
        if ROW_OF[entry_of(imported)] >= ROW_OF[entry] and entry_of(imported) != entry
    ]
    assert not wrong, f"{module} must import from rows above its own; imports {', '.join(wrong)}"


def test_every_entry_of_the_table_is_there():
    entries = {entry_of(module) for module in SOURCES}
    assert entries == set(ROW_OF)


def test_only_commands_use_the_package_by_its_public_names():
    for module, path in SOURCES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        plain = any(
            isinstance(node, ast.Import) and "ofa_bert" in [name.name for name in node.names]
            for node in ast.walk(tree)
        )
        assert not plain or entry_of(module) in BY_PUBLIC_NAME, module


def imported_tests(source):
    """Give what a source imports of test files."""
    names = {f"{module}.{name}".rstrip(".") for module, name in imports_in(source)}
    return {name for name in names if re.match(r"tests\.(.*\.)?test_", name)}


def test_the_reader_of_imports_sees_test_files():
    source = """
import tests.test_a, tests.runs
from tests import test_b, runs
from tests.tiny import tiny_test_model
from numpy import test_c
def f():
    from tests.ofa.test_d import CASES
"""
    assert imported_tests(source) == {"tests.test_a", "tests.test_b", "tests.ofa.test_d.CASES"}


def test_test_files_import_from_no_test_file():
    """What several of them need stands in a file without tests."""
    paths = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    assert Path(__file__) in paths
    found = {path: imported_tests(path.read_text(encoding="utf-8")) for path in paths}
    assert {str(path.relative_to(ROOT)): names for path, names in found.items() if names} == {}


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300
    )


def test_commands_start_without_paddle():
    """It takes a second or more, and threads must be set before."""
    light = ["ofa_bert", *SCRIPTS]
    light += [f"ofa_bert.{m}" for m in ("config", "cli", "arguments", "subnet", "run_folder")]
    light += [f"ofa_bert.{m}" for m in SOURCES if m.startswith("commands")]
    result = run(f"import sys, {', '.join(light)}; print('paddle' in sys.modules)")
    assert (result.returncode, result.stdout) == (0, "False\n"), result.stderr


@pytest.mark.parametrize("argv", [["run_glue_ofa.py", "--help"], ["export_model.py", "--help"]])
def test_help_does_not_import_paddle(argv):
    code = f"""
import runpy, sys
sys.argv = {argv}
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    print("exit", end.code, "paddle" in sys.modules)
"""
    result = run(code)
    assert result.stdout.startswith(f"usage: {argv[0]}"), result.stderr
    assert result.stdout.endswith("exit 0 False\n")


def test_everything_imports_without_the_extras():
    modules = [
        "ofa_bert" if m == "__init__" else m if m in SCRIPTS else f"ofa_bert.{m}"
        for m in SOURCES
        if m != "__main__"
    ]
    code = f"""
import importlib, sys
asked = []
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("paddlenlp", "paddleslim", "paddle2onnx", "onnxruntime"):
            asked.append(name)
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
for module in {modules}:
    importlib.import_module(module)
print("asked for", asked)
"""
    result = run(code)
    assert result.stdout.endswith("asked for []\n"), result.stderr


def test_public_names_are_there():
    for name in ofa_bert.__all__:
        home = importlib.import_module(ofa_bert._MODULE_OF[name])
        assert getattr(ofa_bert, name) is getattr(home, name), name
        assert name in dir(ofa_bert)


def test_no_public_name_is_also_a_module():
    # Importing the module would put it in the place of the function.
    modules = {path.stem for path in Path(ofa_bert.__file__).parent.iterdir()}
    assert modules.isdisjoint(ofa_bert.__all__)


def test_a_name_that_is_not_public_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'ofa_bert' has no attribute 'Supernett'"):
        _ = ofa_bert.Supernett
