"""The README.md of a sub-model's directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ofa_bert.deploy import versions
from ofa_bert.export.staging import CARD_MARK
from ofa_bert.model_config import ModelConfig
from ofa_bert.safe_text import markdown
from ofa_bert.subnet import Subnet, count_macs, count_params, describe
from ofa_bert.widths import width_label


@dataclass(frozen=True)
class CardFacts:
    """What a card tells that the model does not know of itself."""

    source: str = "unknown"
    """The supernet's directory or name."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Scores of this width on the development rows, as fractions; empty when not known."""
    teacher_score: float | None = None
    """Score of the teacher, as a fraction."""
    latency_ms: float | None = None
    """Median milliseconds of one text in Paddle Inference."""
    measured_at: int | None = None
    """Tokens that the run cut texts to, and so what scores and latency hold for."""


def model_card(
    config: ModelConfig,
    subnet: Subnet,
    width_mult: float,
    facts: CardFacts,
    *,
    max_seq_length: int,
    file_bytes: int,
    parity: str,
) -> str:
    """Write the card as Markdown.

    Args:
        config: the supernet's.
        subnet: what was cut out of it.
        width_mult: the width that ``subnet`` stands for.
        facts: source and scores.
        max_seq_length: tokens that texts are cut to; MACs are counted for that many.
        file_bytes: size of the weights.
        parity: the line of the parity check.
    """
    at = facts.measured_at
    labels = ", ".join(map(markdown, config.labels)) or "unknown"
    rows = [
        ("source", markdown(facts.source)),
        ("task", markdown(config.task_name or "unknown")),
        ("labels", "a number" if config.is_regression else labels),
        ("sub-network", f"width {width_label(width_mult)}: {describe(subnet)}"),
        *((markdown(name), f"{value * 100:.2f}") for name, value in facts.metrics.items()),
        *_optional("teacher's score", facts.teacher_score, 100, ""),
        *((("scores are of texts cut to", f"{at} tokens"),) if facts.metrics and at else ()),
        ("parameters", f"{count_params(config, subnet):,}"),
        ("without embeddings", f"{count_params(config, subnet, embeddings=False):,}"),
        (
            f"MACs at {max_seq_length} tokens",
            f"{count_macs(config, subnet, max_seq_length) / 1e9:.3f} G",
        ),
        ("weights", f"{file_bytes / 1e6:.1f} MB"),
        *_optional(
            f"latency, one text{f' of {at} tokens' if at else ''}", facts.latency_ms, 1, " ms"
        ),
        ("written with", ", ".join(f"{name} {version}" for name, version in versions().items())),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return CARD.format(
        mark=CARD_MARK,
        width=width_label(width_mult),
        task=markdown(config.task_name or "text classification"),
        table=table,
        parity=parity,
        max_seq_length=max_seq_length,
    )


def _optional(name: str, value: float | None, factor: float, unit: str) -> list[tuple[str, str]]:
    return [] if value is None else [(name, f"{value * factor:.2f}{unit}")]


CARD = """\
{mark}
# BERT for {task}, width {width}

A sub-network of a supernet, cut out as a plain smaller model.

| | |
|---|---|
{table}

Checked when it was written: {parity}.

## Use it

```python
import ofa_bert as ofa  # before paddle, to set it up
import paddle

directory = "."  # where this file is
model = ofa.load_model(directory)
encoded = ofa.load_tokenizer(directory).encode(["a text"], None, {max_seq_length})
logits = model(paddle.to_tensor([list(encoded.input_ids[0])])).logits
```

With its static graph (`export_model.py --static_sub_model DIR`):

```
python -m ofa_bert predict --model DIR
```
"""
