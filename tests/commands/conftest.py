"""What the commands' tests share: a teacher, its supernet and what was exported of it."""

from __future__ import annotations

import pytest

import export_model
import run_glue_ofa
from ofa_bert import cli
from tests.conftest import made_base
from tests.runs import MAX_SEQ_LENGTH, export_argv, finetune_argv, ofa_argv, run


@pytest.fixture(autouse=True, scope="package")
def work(tmp_path_factory):
    """The directory of ``base``, which all of these tests share; none changes what it found."""
    yield from made_base(tmp_path_factory)


@pytest.fixture(scope="package")
def teacher(work):
    """A model of 12 steps: its directory, and what the command said."""
    result = run(cli.main, finetune_argv(work, work / "teacher", num_train_epochs=2))
    assert result.code == 0, result.err
    return work / "teacher", result


@pytest.fixture(scope="package")
def supernet(work, teacher):
    """The teacher's supernet of three widths: its directory, and what the command said."""
    argv = ofa_argv(work, work / "supernet", width_mult_list=("1.0", "3/4", "1/2"))
    result = run(run_glue_ofa.main, argv)
    assert result.code == 0, result.err
    return work / "supernet", result


@pytest.fixture(scope="package")
def exported(work, supernet):
    """Its widths 1.0 and 0.5 in ``dynamic`` and ``static``, and what the command said."""
    argv = export_argv(
        supernet[0],
        work / "dynamic",
        static_sub_model=work / "static",
        width_mult=("1.0", "1/2"),
        max_seq_length=MAX_SEQ_LENGTH,
    )
    result = run(export_model.main, argv)
    assert result.code == 0, result.err
    return work, result
