import os
import pwd
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from ofa_bert.crash import report_crash
from ofa_bert.data.cache import cached_arrays
from ofa_bert.diagnosis import Finding, check_cache
from ofa_bert.errors import InputError
from ofa_bert.places import cache_directory, scratch_directory


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


@pytest.fixture
def homeless(monkeypatch):
    """A user that the system does not know, as of a container that was given a number."""

    def unknown(uid):
        raise KeyError(uid)

    for name in ("OFA_BERT_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_a_user_without_home_is_told_to_name_a_cache(homeless, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no home directory; got none; set OFA_BERT_CACHE to a"):
        cache_directory()
    remedy = "set OFA_BERT_CACHE to a folder of yours"
    assert check_cache() == Finding(
        "cache folder", "none, as this user has no home directory", remedy
    )
    monkeypatch.setenv("OFA_BERT_CACHE", str(tmp_path))
    assert cache_directory() == tmp_path
    assert check_cache().remedy is None


def test_without_a_home_nothing_is_kept(homeless, caplog):
    built = {"a": np.arange(3)}
    assert cached_arrays("key", ["a"], lambda: built) is built
    (message,) = caplog.messages
    assert message.startswith("nothing is kept for the next run: cache directory must be named")


def test_without_a_home_a_fault_of_ours_is_still_reported(homeless, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    report_crash(ZeroDivisionError("by nought"), [])
    (path,) = tmp_path.glob("error_*.txt")
    assert f"by nought; please report it with {path} on" in capsys.readouterr().err
