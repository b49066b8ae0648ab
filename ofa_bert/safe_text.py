"""Text from strangers, made safe to show: on one line of a terminal, in a cell of Markdown."""

from __future__ import annotations

import re
import reprlib
import unicodedata

MAX_MESSAGE = 4000
"""Most characters of a message: a file may hold a name of a gigabyte."""
BREAKS = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories of control characters, lone surrogates and ends of lines."""
MARKUP = re.compile(
    r"[][\\`*{}<>()#|~!&@:$]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # not within a word, where it means nothing
    r"|(?<=www)\.|^[-+=]|^\d+[.)](?=\s)",
    re.IGNORECASE,
)

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80


def short(value: object) -> str:
    """Write a value for a message, abbreviated.

    Written out in full, a value from a file of strangers may be endless or nest too deep.
    """
    return _repr.repr(value)


def one_line(text: str, most: int = MAX_MESSAGE) -> str:
    r"""Write text on one line that moves no cursor: what cannot be printed as ``\x1b``, ``\n``."""
    text = text if len(text) <= most else text[:most] + "..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def is_label(text: str) -> bool:
    """Say whether a text can stand in a line ``label<TAB>score`` as it is."""
    return not any(unicodedata.category(c) in BREAKS for c in text)


def markdown(text: str) -> str:
    """Write text so that Markdown shows it as it is, in a table too.

    Signs that could begin HTML, links, emphasis or a cell become character references, which
    cannot stand for structure (CommonMark 0.31, section 2.5).
    """
    plain = "".join(c if is_label(c) else " " for c in text)
    return MARKUP.sub(lambda found: "".join(f"&#{ord(c)};" for c in found[0]), plain)
