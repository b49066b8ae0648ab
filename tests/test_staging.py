"""A directory of an export: what a kill leaves in it, and who may fill it."""

import pytest

from ofa_bert.errors import InputError
from ofa_bert.export.staging import FILLING, MOVING, STATIC, SUB_MODEL, check_replaceable, staged

MARK = "<!-- written by ofa_bert export -->"


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write(directory, text):
    with staged(directory, SUB_MODEL) as stage:
        (stage / "model.safetensors").write_text(text)
        (stage / "config.json").write_text(text)
        (stage / "README.md").write_text(f"{MARK} {text}")


def export(text):
    return {"model.safetensors": text, "config.json": text, "README.md": f"{MARK} {text}"}


def test_files_appear_together_and_replace_those_before(tmp_path):
    directory = tmp_path / "a" / "b"
    write(directory, "first")
    assert contents(directory) == export("first")
    with staged(directory, SUB_MODEL) as stage:
        (stage / "config.json").write_text("second")
        assert contents(directory)["config.json"] == "first"
    assert contents(directory) == {"config.json": "second"}
    assert [path.name for path in directory.iterdir()] == ["config.json"]


def test_what_was_cut_off_while_it_was_filled_goes_and_the_export_before_stays(tmp_path):
    write(tmp_path, "first")
    (tmp_path / FILLING).mkdir()
    for name in ("config.json", ".vocab.txt.123.tmp"):
        (tmp_path / FILLING / name).write_text("half")
    (tmp_path / ".run.lock.host.123.tmp").write_text("")
    check_replaceable(tmp_path, SUB_MODEL)
    (tmp_path / ".run.lock.host.123.tmp").unlink()
    write(tmp_path, "second")
    assert contents(tmp_path) == export("second")
    assert not (tmp_path / FILLING).exists()


@pytest.mark.parametrize("moved", [[], ["README.md"], ["model.safetensors", "README.md"]])
def test_what_was_cut_off_while_it_moved_is_replaced(tmp_path, moved):
    """The entry is not there yet, and perhaps not the file that marks an export."""
    (tmp_path / MOVING).mkdir()
    for name in SUB_MODEL.files & {"README.md", "model.safetensors", "config.json"}:
        (tmp_path / ("" if name in moved else MOVING) / name).write_text("cut off")
    write(tmp_path, "second")
    assert contents(tmp_path) == export("second")
    assert not (tmp_path / MOVING).exists()


def test_what_others_put_there_is_never_removed(tmp_path):
    (tmp_path / FILLING).mkdir()
    (tmp_path / FILLING / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"sub-model .* cannot be written: Directory not"):
        write(tmp_path, "first")
    assert contents(tmp_path) == {f"{FILLING}/notes.txt": "mine"}
    (tmp_path / "config.json").write_text("mine too")
    with pytest.raises(InputError, match=r"which holds config\.json; name another directory"):
        write(tmp_path, "first")


def test_nothing_is_removed_through_a_link(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / FILLING).symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match=r"sub-model .* cannot be written: File exists"):
        write(tmp_path / "out", "first")
    assert contents(tmp_path / "mine") == {"config.json": "mine"}


def test_one_export_at_a_time(tmp_path):
    with staged(tmp_path / "x", STATIC) as stage:
        (stage / "deploy.json").write_text("first")
        with (
            pytest.raises(InputError, match=r"directory .*x is in use by process \d+ on "),
            staged(tmp_path / "x", STATIC),
        ):
            raise AssertionError("not reached")
        assert (stage / "deploy.json").exists()
    assert contents(tmp_path) == {"x/deploy.json": "first"}
