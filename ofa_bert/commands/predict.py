"""Label lines of text with a static graph: one line in, one line ``label<TAB>score`` out.

Both are UTF-8, whatever the terminal's encoding.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO

import ofa_bert as ofa
from ofa_bert.arguments import parse_args
from ofa_bert.command import set_up_logging
from ofa_bert.config import setting
from ofa_bert.errors import InputError
from ofa_bert.model_config import ROWS_OF_TEXTS
from ofa_bert.rules import check_not_empty, require
from ofa_bert.streams import set_output

ROWS_AT_ONCE = 4096
WHY_TABS: dict[int | None, str] = {
    None: "as the first line does",
    **{number: f"as the model labels {rows}" for number, rows in ROWS_OF_TEXTS.items()},
}


@dataclass(frozen=True)
class PredictConfig:
    """What to label, and with what."""

    model: str = setting(help="directory of a static graph, as export_model.py writes it")
    input: str = setting("-", help="file of lines; for tasks of two texts a tab between them")
    batch_size: int = setting(32, help="texts of one forward")
    precision: str = setting("fp32", help="fp32 or bf16", choices=("fp32", "bf16"))
    log_level: str = setting(
        "warning", help="how much to say", choices=("debug", "info", "warning")
    )

    def __post_init__(self) -> None:
        check_not_empty("model", self.model)
        check_not_empty("input", self.input)
        require(self.batch_size >= 1, f"batch_size must be at least 1; got {self.batch_size}")


def main(argv: Sequence[str]) -> int:
    """Read the command line and print an answer to each line, in order."""
    (config,) = parse_args("python -m ofa_bert predict", __doc__ or "", [PredictConfig], argv)
    set_up_logging(config.log_level)
    set_output(encoding="utf-8")
    predictor = ofa.Predictor(config.model, precision=config.precision)
    with open_input(config.input) as file:
        for texts, pairs in chunks(file, config.input, predictor.info.num_texts):
            for answer in predictor.predict(texts, pairs, config.batch_size):
                label = answer.label if answer.label is not None else f"{answer.score:.6g}"
                score = "" if answer.label is None else f"\t{answer.score:.4f}"
                print(f"{label}{score}")  # noqa: T201
    return 0


def open_input(path: str) -> IO[str]:
    """Open a file of UTF-8 lines, or standard input for ``-``."""
    try:
        # newline="\n": other characters that some call line ends belong to the text.
        source = sys.stdin.fileno() if path == "-" else path
        return open(source, encoding="utf-8-sig", newline="\n", closefd=path != "-")
    except OSError as error:
        raise InputError(f"input {path} cannot be read: {error.strerror}") from None


def chunks(
    file: IO[str], name: str, num_texts: int | None = None
) -> Iterator[tuple[list[str], list[str] | None]]:
    """Give lines in portions, as texts and, where lines hold a tab, second texts.

    Args:
        file: lines.
        name: what to call it in messages.
        num_texts: how many texts the model takes; None: as many as the first line holds.

    Raises:
        InputError: if a line holds another number of texts, or the file is not UTF-8.
    """
    lines = iter(file)
    start, paired = 1, None if num_texts is None else num_texts == 2
    while portion := _next_lines(lines, name, start):
        for number, line in enumerate(portion, start):
            paired = "\t" in line if paired is None else paired
            if line.count("\t") != int(paired):
                raise InputError(
                    f"input {name}, line {number}: must hold {int(paired)} tabs, "
                    f"{WHY_TABS[num_texts]}; got {line.count(chr(9))}"
                )
        start += len(portion)
        parts = [line.split("\t") for line in portion]
        yield [part[0] for part in parts], [part[1] for part in parts] if paired else None


def _next_lines(lines: Iterator[str], name: str, start: int) -> list[str]:
    try:
        return [line.removesuffix("\n").removesuffix("\r") for line in islice(lines, ROWS_AT_ONCE)]
    except UnicodeDecodeError as error:
        raise InputError(
            f"input {name} is not UTF-8 in line {start} or after it: {error}"
        ) from None
