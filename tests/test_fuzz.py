"""Every reader of files, fed with garbage: it succeeds or says an ``InputError``.

A short turn of what ``make fuzz`` does for hours; the corpus holds what once broke a reader.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.readers import READERS, read_safely

CORPUS = Path(__file__).parent / "fuzz" / "corpus"
FILES = {reader: sorted((CORPUS / reader).iterdir()) for reader in READERS}
TOKENS = [
    *(b"\t", b"\n", b"\r\n", b",", b'"', b'""', b"{", b"}", b"[", b"]", b":", b"- ", b"\x00"),
    *(b"1e999", b"-1", b"99999999999999999999", b"NaN", b"null", b"true", b"\xff", b"\xe2\x80\xa8"),
    *(b"text", b"label", b"\\ud800", b"&a ", b"*a", b"<<: ", b"!!int ", b"&#0;", b"\x1b[2J"),
]
"""What files are made of, and what breaks readers."""


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@st.composite
def damaged(draw, contents):
    """Change a good file in a few places."""
    content = draw(st.sampled_from(contents))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = start + draw(st.sampled_from([0, 0, 1, 4, 1000]))
        piece = draw(st.sampled_from(TOKENS) | st.binary(max_size=8))
        content = content[:start] + piece + content[end:]
    return content


@pytest.mark.parametrize("reader", READERS)
def test_good_files_are_read_and_hostile_ones_refused(reader):
    for path in FILES[reader]:
        read = read_safely(reader, path.read_bytes())
        assert read or path.name != "good", f"{path} is refused"


@pytest.mark.parametrize("reader", READERS)
def test_garbage_is_read_or_refused(reader):
    contents = [path.read_bytes() for path in FILES[reader]]

    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    @given(damaged(contents) | st.lists(st.sampled_from(TOKENS)).map(b"".join) | st.binary())
    def check(data):
        read_safely(reader, data)

    check()


def test_the_corpus_is_small():
    assert sum(path.stat().st_size for files in FILES.values() for path in files) < 500_000
