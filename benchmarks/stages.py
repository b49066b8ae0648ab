"""Everything around training: importance, reordering, evaluation, export, tokenisation, starting.

Where something sets the pace it is timed in turn with it: ``times its measure`` is the stage's
median over that of what ``against`` names.

    python -m benchmarks.stages [--model tiny --export_model tiny]
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import ofa_bert as ofa
from benchmarks import harness, models
from benchmarks.harness import Child, ChildError, Row
from ofa_bert import runtime

WIDTHS = (1.0, 5 / 6, 2 / 3, 1 / 2)
SST2 = models.SHARED / "data" / "glue" / "SST-2" / "train.tsv"
MAX_SEQ_LENGTH = 128
PARITY_LENGTH = 53
"""Tokens of the rows an export is checked on: MRPC's mean."""
PADDLENLP = ("BertTokenizer", "BertTokenizerFast")


def main(argv: list[str] | None = None) -> None:
    """Time every stage and print the table."""
    options = parse(argv)
    if options.child:
        harness.serve(PaddleNLP(options.child).seconds)
        return
    model, origin = models.load(options.model)
    dataset = random_rows(model.config.vocab_size, options.rows)
    left_out: list[str] = []
    rows = [
        *time_importance(model, dataset, options.runs),
        *time_evaluation(model, dataset, options.runs),
        *time_export(options.export_model, options.runs),
        *time_tokenisation(model.config, options, left_out),
        *time_starting(options.runs),
    ]
    result = harness.Result(
        benchmark="stages",
        settings={
            "model": f"{options.model} ({origin})",
            "export model": options.export_model,
            "rows": options.rows,
            "runtime": runtime.describe(),
        },
        rows=rows,
        machine=harness.machine("tokenizers", "paddlenlp"),
        notes=[*left_out, *harness.busy_note()],
    )
    harness.report(result, options.output)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", choices=models.MODELS, default="minilm")
    parser.add_argument("--export_model", choices=models.MODELS, default="bert-base")
    parser.add_argument("--rows", type=int, default=256, help="for importance and evaluation")
    parser.add_argument("--texts", type=int, default=10_000, help="for tokenisation")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, help="JSON file; default: in benchmarks/results")
    parser.add_argument("--child", choices=PADDLENLP, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def stage(
    name: str,
    seconds: Sequence[float],
    against: str | None = None,
    measure: Sequence[float] | None = None,
    texts: int | None = None,
) -> Row:
    """Give a row of the table."""
    median = statistics.median(seconds)
    return {
        "stage": name,
        **harness.summary(seconds),
        "rows/s": texts and texts / median,
        "against": against,
        "its median s": measure and statistics.median(measure),
        "times its measure": measure and median / statistics.median(measure),
    }


def random_rows(vocab_size: int, rows: int) -> Any:
    """Give labelled rows of 20 to 80 tokens."""
    from ofa_bert.data.encoded import EncodedDataset

    generator = np.random.default_rng(0)
    lengths = generator.integers(20, 81, rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return EncodedDataset(
        input_ids=generator.integers(5, vocab_size, offsets[-1]).astype("int32"),
        token_type_ids=np.zeros(offsets[-1], "int32"),
        offsets=offsets,
        labels=generator.integers(0, 2, rows),
    )


# ---- importance, reordering, evaluation, export --------------------------------------------------


def time_importance(model: ofa.BertForSequenceClassification, dataset: Any, runs: int) -> list[Row]:
    """Time scoring against one forward and backward without gradients of weights; reordering.

    Scoring goes back to the first layer's heads, its measure on to the embedded tokens.
    """
    batches = list(ofa.evaluation_batches(dataset, 32))
    seconds = harness.time_in_turns(
        {
            "ours": lambda: ofa.score_importance(model, batches),
            "measure": lambda: [backward_to_embeddings(model, batch) for batch in batches],
        },
        runs,
    )
    importance = ofa.score_importance(model, batches[:1])
    copy = ofa.extract(model, ofa.full_subnet(model.config))
    reordering = harness.time_runs(
        lambda: ofa.reorder(copy, ofa.importance_order(importance)), runs
    )
    against = "forward + backward, no weight gradients"
    return [
        stage("importance", seconds["ours"], against, seconds["measure"], len(dataset)),
        stage("reordering", reordering),
    ]


def backward_to_embeddings(model: ofa.BertForSequenceClassification, batch: ofa.Batch) -> None:
    """Take the gradient of the loss by the embedded tokens, through frozen weights."""
    import paddle

    from ofa_bert.distill import losses

    trained = [parameter for parameter in model.parameters() if not parameter.stop_gradient]
    for parameter in trained:
        parameter.stop_gradient = True
    bert = model.bert
    embedded = bert.embeddings(batch.input_ids, batch.token_type_ids).detach()
    embedded.stop_gradient = False
    bias = (1.0 - batch.attention_mask.astype("float32")).unsqueeze([1, 2]) * -1e4
    encoded = bert.encoder(embedded, bias, ofa.full_subnet(model.config))
    logits = model.classifier(bert.pooler(encoded.hidden_states[-1]))
    paddle.grad(losses.cross_entropy(logits, batch.labels, len(batch.indices)), embedded)
    for parameter in trained:
        parameter.stop_gradient = False


def time_evaluation(model: ofa.BertForSequenceClassification, dataset: Any, runs: int) -> list[Row]:
    """Time the scores of all widths, against as many forwards of the full model."""
    widths = ofa.resolve_widths(model.config, WIDTHS)
    subnets = {str(width): subnet for width, subnet in widths.items()}

    def evaluate(subnets: Mapping[str, ofa.Subnet]) -> None:
        ofa.evaluate_subnets(model, {"dev": dataset}, ("accuracy",), subnets)

    full = dict.fromkeys(subnets, ofa.full_subnet(model.config))
    seconds = harness.time_in_turns(
        {"ours": lambda: evaluate(subnets), "measure": lambda: evaluate(full)}, runs
    )
    count = len(subnets) * len(dataset)
    against = f"{len(subnets)} times width 1.0"
    name = f"evaluation of {len(subnets)} widths"
    return [stage(name, seconds["ours"], against, seconds["measure"], count)]


def time_export(name: str, runs: int) -> list[Row]:
    """Time the export of all widths with static graphs and parity checks as exports make them."""
    model, _ = models.load(name)
    config = model.config
    tokenizer = models.tokenizer_of(config)
    from ofa_bert.export.source import PARITY_ROWS, random_ids

    input_ids, token_type_ids = random_ids(config, PARITY_ROWS, PARITY_LENGTH)
    parity_rows = [
        (input_ids[start : start + 8], token_type_ids[start : start + 8])
        for start in range(0, PARITY_ROWS, 8)
    ]

    def export() -> None:
        with tempfile.TemporaryDirectory(prefix="ofa_bert_stages_") as directory:
            for width, subnet in ofa.resolve_widths(config, WIDTHS).items():
                ofa.export_width(
                    model,
                    width,
                    subnet,
                    tokenizer,
                    sub_model_dir=Path(directory, f"{width:.2f}"),
                    static_dir=Path(directory, f"{width:.2f}_static"),
                    max_seq_length=MAX_SEQ_LENGTH,
                    parity_inputs=parity_rows,
                )

    seconds = harness.time_runs(export, max(1, runs // 2), warmup=0)
    return [stage(f"export of {len(WIDTHS)} widths of {name}, parity included", seconds)]


# ---- tokenisation --------------------------------------------------------------------------------


def time_tokenisation(
    config: ofa.ModelConfig, options: argparse.Namespace, left_out: list[str]
) -> list[Row]:
    """Time our tokenizer against the library it is made of, and beside paddlenlp's two."""
    texts = sample_texts(options.texts)
    with tempfile.TemporaryDirectory(prefix="ofa_bert_stages_") as directory:
        tokenizer = vocabulary_of(config)
        tokenizer.save(directory)
        seconds = harness.time_in_turns(
            {
                "ours": lambda: tokenizer.encode(texts, None, MAX_SEQ_LENGTH),
                "measure": library_encoder(Path(directory), texts),
            },
            options.runs,
        )
        ours = seconds["ours"]
        rows = [stage("tokenisation", ours, "tokenizers", seconds["measure"], len(texts))]
        for name in PADDLENLP:
            try:
                with Child("benchmarks.stages", "--child", name) as child:
                    # Its Python tokenizer is slow: a part of the texts tells as much.
                    part = texts[: len(texts) // 10]
                    theirs = child.ask(directory=directory, texts=part, runs=options.runs)
            except ChildError as error:
                left_out.append(f"Left out: paddlenlp's {name} ({error}).")
                continue
            scaled = [value * len(texts) / len(part) for value in theirs]
            label = f"tokenisation, paddlenlp's {name}"
            rows.append(stage(label, scaled, "tokenisation (ours)", ours, len(texts)))
    return rows


def sample_texts(count: int) -> list[str]:
    """Give sentences of SST-2's training set, or made-up ones where it is not at hand."""
    if not SST2.is_file():
        generator = np.random.default_rng(0)
        return [" ".join(f"w{n}" for n in generator.integers(0, 900, 12)) for _ in range(count)]
    with SST2.open(encoding="utf-8") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(rows)
        return [row[0] for _, row in zip(range(count), rows, strict=False)]


def vocabulary_of(config: ofa.ModelConfig) -> ofa.Tokenizer:
    """Give the real vocabulary where it is at hand."""
    return ofa.load_tokenizer(models.MINILM) if SST2.is_file() else models.tokenizer_of(config)


def library_encoder(directory: Path, texts: list[str]) -> Callable[[], Any]:
    """Give what encodes texts by the ``tokenizers`` library alone: rows of ids, cut and marked.

    The words are those of its own BertPreTokenizer: to split them as PaddleNLP does is our work.
    """
    from tokenizers import Tokenizer, pre_tokenizers

    backend = Tokenizer.from_file(str(directory / "tokenizer.json"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.enable_truncation(MAX_SEQ_LENGTH)
    return lambda: [encoding.ids for encoding in backend.encode_batch_fast(texts)]


class PaddleNLP:
    """One of paddlenlp's tokenizers, in a process of its own: importing it patches paddle."""

    def __init__(self, name: str) -> None:
        self.name = name

    def seconds(self, directory: str, texts: list[str], runs: int) -> list[float]:
        """Time its encoding of texts."""
        if self.name == "BertTokenizer":
            from paddlenlp.transformers import BertTokenizer as Theirs
        else:
            from paddlenlp.transformers.bert.tokenizer_fast import BertTokenizerFast as Theirs
        tokenizer = Theirs.from_pretrained(directory)
        return harness.time_runs(
            lambda: tokenizer(texts, max_length=MAX_SEQ_LENGTH, truncation=True), runs
        )


# ---- starting ------------------------------------------------------------------------------------


def time_starting(runs: int) -> list[Row]:
    """Time a new process that imports the package or prints help, against an empty one."""

    def start(*arguments: str) -> Callable[[], Any]:
        command = [sys.executable, *arguments]
        return lambda: subprocess.run(command, cwd=harness.ROOT, check=True, capture_output=True)

    commands = {
        "empty": start("-c", "pass"),
        "import ofa_bert": start("-c", "import ofa_bert"),
        "run_glue_ofa.py --help": start("run_glue_ofa.py", "--help"),
    }
    seconds = harness.time_in_turns(commands, runs=3 * runs)
    empty = seconds.pop("empty")
    return [stage(name, values, "python -c pass", empty) for name, values in seconds.items()]


if __name__ == "__main__":
    main()
