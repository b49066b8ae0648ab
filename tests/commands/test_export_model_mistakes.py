"""Bad input to an export, and directories that it does not write over."""

from __future__ import annotations

import pytest

import export_model
from tests.commands.mistakes import check_mistake
from tests.runs import export_argv

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
    "one width where several lie": (
        lambda work, at: {"sub_model_output_dir": work / "dynamic"},
        r"got .*dynamic, which holds width_mult_0\.5, width_mult_1\.0; that is an export of "
        r"several widths: name another directory, or export several widths again",
    ),
    "several widths where a model lies": (
        lambda work, at: {"sub_model_output_dir": work / "supernet", "all_widths": True},
        r"sub-model directory for several widths must not hold a model itself; got .*supernet, "
        r"which holds config\.json; name another directory",
    ),
    "several graphs where one lies": (
        lambda work, at: {
            "static_sub_model": work / "static" / "width_mult_0.5",
            "width_mult": ("1.0", "0.5"),
        },
        r"static graph directory for several widths must not hold .*, which holds deploy\.json",
    ),
    "all widths and one more": (
        lambda work, at: {"all_widths": True, "width_mult": "0.3"},
        r"all_widths and width_mult must not both be given; got width_mult 0\.3 too",
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
def test_a_mistake_of_an_export(work, supernet, exported, tmp_path, case):
    changes, message = EXPORT_MISTAKES[case]
    argv = export_argv(supernet[0], tmp_path / "out", **changes(work, tmp_path))
    check_mistake(export_model.main, argv, message, work, tmp_path)
