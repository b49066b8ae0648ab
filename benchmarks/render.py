"""Put the runs of benchmarks/results into benchmarks/README.md, between its marks."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from benchmarks.harness import RESULTS, Result, combine, read_result

README = RESULTS.parent / "README.md"
BLOCK = re.compile(r"<!-- result: (\w+) -->\n(?:.*?\n)??<!-- end of result -->\n", re.DOTALL)


def main() -> None:
    """Rewrite README's blocks."""
    README.write_text(render(README.read_text("utf-8"), read_results(RESULTS)), "utf-8")


def read_results(directory: Path) -> dict[str, Result]:
    """Read every file, and put files of the same benchmark into one table.

    Raises:
        ValueError: if such files are of different settings or machines.
    """
    by_benchmark = defaultdict(list)
    for path in sorted(directory.glob("*.json")):
        result = read_result(path)
        by_benchmark[result.benchmark].append(result)
    return {name: combine(results) for name, results in by_benchmark.items()}


def render(text: str, results: dict[str, Result]) -> str:
    """Fill the blocks of a text.

    Raises:
        ValueError: if a result has no block, and so would not be shown.
    """
    blocks = BLOCK.findall(text)
    if missing := sorted(set(results) - set(blocks)):
        raise ValueError(f"README.md must have a block for each result; got none for {missing}")

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        shown = f"{results[name].markdown()}\n" if name in results else ""
        return f"<!-- result: {name} -->\n{shown}<!-- end of result -->\n"

    return BLOCK.sub(fill, text)


if __name__ == "__main__":
    main()
