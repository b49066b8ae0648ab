"""Settings in YAML: plain values come back, all else is refused in one line and in no time."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_bert.errors import InputError
from ofa_bert.settings_file import MAX_BYTES, parse_settings, read_settings_file

plain = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text()


@settings(max_examples=50)
@given(st.dictionaries(st.text(), plain | st.lists(plain, max_size=4), max_size=4))
def test_what_a_run_writes_comes_back(values):
    assert repr(parse_settings(yaml.safe_dump(values), "it")) == repr(dict(sorted(values.items())))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 1\nb: *x", r"anchors \(&\) and aliases \(\*\) must not stand in settings"),
        ("a: &x [1]\nb: {<<: [*x, *x]}", "anchors"),
        ("a: !!python/object/apply:os.system [ls]", "tags must not stand in settings; got"),
        ("a: !x 1", "tags must not stand in settings; got '!x'"),
        ("a: [[1]]", "values must be plain or lists; got one nested 3 deep"),
        ("a: {b: {c: 1}}", "values must be plain or lists; got one nested 3 deep"),
        ("[" * 60_000, "nested 3 deep"),
        ("a: " + "{a: " * 10_000, "nested 3 deep"),
        ("a: 1\nb: [a]\na: 2", "the name 'a' stands twice"),
        ("a: 2020-13-01", "cannot be read: month must be in 1..12"),
        ("a: " + "9" * 5000, "cannot be read: Exceeds the limit|nothing"),
        ("[]", "must hold lines of 'name: value'; got a list"),
        ("", "must hold lines of 'name: value'; got nothing"),
        ("a: 1\n---\nb: 2", "cannot be read: "),
        ("a: \x00", "cannot be read: "),
    ],
)
def test_refuses(text, message):
    with pytest.raises(InputError, match=f"^settings here:? .*({message})") as caught:
        parse_settings(text, "settings here")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_a_file_is_small_and_a_file(tmp_path: Path):
    path = tmp_path / "a.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=f"must be at most {MAX_BYTES} bytes; it is larger"):
        read_settings_file(path, "config")
    with pytest.raises(InputError, match=r"gone\.yaml cannot be read: No such file"):
        read_settings_file(tmp_path / "gone.yaml", "config")
    with pytest.raises(InputError, match="must be a file; it is something else"):
        read_settings_file(tmp_path, "config")
    path.write_bytes(b"a: \xff")
    with pytest.raises(InputError, match=r"cannot be read: .*utf-8"):
        read_settings_file(path, "config")
