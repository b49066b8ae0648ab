import os
import subprocess
import sys

import pytest

from ofa_bert.errors import InputError
from ofa_bert.places import scratch_directory


def test_a_scratch_directory_is_in_the_cache_and_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("OFA_BERT_CACHE", str(tmp_path / "a" / "cache"))
    with scratch_directory("trace") as folder:
        (folder / "x").write_text("")
        assert folder.parent == tmp_path / "a" / "cache"
        assert folder.name.startswith("trace_")
    assert os.listdir(tmp_path / "a" / "cache") == []


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("OFA_BERT_CACHE", str(tmp_path))
    source = """
import os
from ofa_bert.places import scratch_directory
with scratch_directory("measure") as folder:
    (folder / "graph").write_text("large")
    os._exit(1)
"""
    subprocess.run([sys.executable, "-c", source], check=False)
    (left,) = tmp_path.iterdir()
    (tmp_path / "measure_notes").mkdir()  # no lock: none of ours
    with scratch_directory("trace"):
        assert (left / "graph").exists()  # of another name
    with scratch_directory("measure") as first, scratch_directory("measure") as second:
        assert {p.name for p in tmp_path.iterdir()} == {"measure_notes", first.name, second.name}
    assert os.listdir(tmp_path) == ["measure_notes"]


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OFA_BERT_CACHE", str(tmp_path / "file"))
    expected = r"cache directory .*file cannot be written: .*; set OFA_BERT_CACHE to one that can"
    with pytest.raises(InputError, match=expected), scratch_directory("x"):
        raise AssertionError("not reached")
