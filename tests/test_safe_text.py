"""What strangers write is shown, and does nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_bert.safe_text import MAX_MESSAGE, is_label, markdown, one_line, short

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a | b | c",
    "[here](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "*bold* _slanted_ __strong__ ~~gone~~ `code`",
    "# heading",
    "&lt;b&gt; &amp;",
    "https://evil.example www.evil.example me@evil.example",
    "\\| \\<b>",
    "$x$ {y}",
    "--> <!--",
    "1. one",
    "- two",
    "> three",
    "=====",
]


def test_one_line_by_hand():
    assert one_line("a\nb\x1b[2J\t\u2028") == "a\\nb\\x1b[2J\\t\\u2028"
    assert one_line("好 ü") == "好 ü"
    assert one_line("x" * 10, most=4) == "xxxx..."


@given(st.text())
def test_one_line_is_one_printable_line(text):
    assert one_line(text).isprintable()
    assert one_line("x" * 10_000 + text) == "x" * MAX_MESSAGE + "..."


@pytest.mark.parametrize("text", ["a\tb", "a\nb", "\x1b[2J", "a\u2028", "a\x85", "\ud800"])
def test_a_label_is_of_one_line(text):
    assert not is_label(text)
    assert is_label("very good, \u3000 好 \U0001f468\u200d\U0001f469")


def test_short_cuts_long_and_deep_values():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert short(deep) == "[[[[[[[...]]]]]]]"
    assert len(short("x" * 10**6)) == 80


def rendered(source):
    """Give the HTML of another implementation of Markdown, with tables and bare links."""
    markdown_it = pytest.importorskip("markdown_it")
    parser = markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return parser.render(source)


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_the_text_itself(text):
    # By hand: HTML's own escapes, and nothing that was in the text as a tag.
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = escaped.replace('"', "&quot;")
    assert rendered(markdown(text)) == f"<p>{escaped}</p>\n"
    table = rendered(f"| a | b |\n|---|---|\n| x | {markdown(text)} |\n")
    assert f"<td>{escaped}</td>" in table
    assert table.count("<td>") == 2


def test_markdown_leaves_plain_words_as_they_are():
    for text in ("sst-2", "out/sst2_ofa", "very good", "87.5 %", "好"):
        assert markdown(text) == text
    # Where a bare address would become a link.
    assert markdown("http://x www.y") == "http&#58;//x www&#46;y"
    assert markdown("a\nb") == "a b"
