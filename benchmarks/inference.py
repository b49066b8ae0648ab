"""Time of one forward of a sub-model: our predictor beside every other engine at hand.

Engines run in processes of their own and take turns. Ids are the same for all; all rows but the
first end in padding. ``times ours`` is an engine's median over that of our predictor in fp32: above
1 it is slower than ours.

    python -m benchmarks.inference [--model bert-base] [--peer_python .peers/bin/python]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

import ofa_bert as ofa
from benchmarks import harness, models, onnx_files
from benchmarks.engines import ENGINES, GRAPH, INT8, ONNX, OURS, PEER_ENGINES, token_ids
from benchmarks.harness import Child, ChildError
from ofa_bert import runtime
from ofa_bert.widths import parse_width, width_label

SHAPES = ((1, 32), (1, 128), (8, 128), (32, 128))


def main(argv: list[str] | None = None) -> None:
    """Time every engine at every width and shape, and print the table."""
    options = parse(argv)
    model, origin = models.load(options.model)
    left_out: dict[str, str] = {}
    rows: list[harness.Row] = []
    with tempfile.TemporaryDirectory(prefix="ofa_bert_inference_") as temporary:
        for width in options.widths:
            subnet = ofa.subnet_at_width(model.config, width)
            directory = Path(temporary) / width_label(width)
            sub_model = ofa.extract(model, subnet)
            write_files(sub_model, directory, left_out)
            rows += time_width(sub_model, width, directory, options, left_out)
    missing = [f"Left out: {name} ({why})." for name, why in sorted(left_out.items())]
    result = harness.Result(
        benchmark=harness.name_of("inference", options.model),
        settings={
            "model": f"{options.model} ({origin})",
            "threads": runtime.usable_cores(),
            "rounds": options.rounds,
            "seconds a turn": options.seconds,
        },
        rows=rows,
        machine=harness.machine("onnxruntime", "paddle2onnx"),
        notes=[*missing, *harness.busy_note()],
    )
    harness.report(result, options.output)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", choices=models.MODELS, default="minilm")
    parser.add_argument("--widths", nargs="+", type=parse_width, default=[1.0, 2 / 3, 1 / 2])
    parser.add_argument("--shapes", nargs="+", type=parse_shape, default=SHAPES)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--rounds", type=int, default=2, help="turns of each engine")
    parser.add_argument("--seconds", type=float, default=0.5, help="about how long a turn is")
    parser.add_argument(
        "--peer_python",
        default=sys.executable,
        help="interpreter that has benchmarks/requirements.txt; default: this one",
    )
    parser.add_argument("--output", type=Path, help="JSON file; default: in benchmarks/results")
    return parser.parse_args(argv)


def parse_shape(text: str) -> tuple[int, int]:
    """Read ``8x128``: rows and tokens."""
    rows, _, length = text.partition("x")
    return int(rows), int(length)


def write_files(
    sub_model: ofa.BertForSequenceClassification, directory: Path, left_out: dict[str, str]
) -> None:
    """Write a sub-model in the form each engine reads; name in ``left_out`` what cannot be."""
    import paddle

    from ofa_bert.deploy import INPUT_NAMES

    config = sub_model.config
    ofa.export_static(
        sub_model, directory / OURS, tokenizer=models.tokenizer_of(config), max_seq_length=128
    )
    specs = [paddle.static.InputSpec([None, None], "int64", name) for name in INPUT_NAMES]
    plain = plain_network(sub_model)
    paddle.jit.save(plain, str(directory / GRAPH), input_spec=specs)
    weights = {name: value.numpy() for name, value in sub_model.state_dict().items()}
    np.savez(directory / "weights.npz", **weights)
    sizes = {
        name: getattr(config, name)
        for name in ("num_attention_heads", "layer_norm_eps", "pad_token_id")
    }
    (directory / "sizes.json").write_text(json.dumps(sizes))
    try:
        onnx_files.write_onnx(directory / GRAPH, directory / ONNX)
        onnx_files.write_int8(directory / ONNX, directory / INT8)
    except ImportError as error:
        left_out["ONNX files"] = str(error)


def plain_network(sub_model: ofa.BertForSequenceClassification) -> Any:
    """Give the network a user would save: the model, and nothing but its logits."""
    import paddle

    import ofa_bert.nn.encoder
    import ofa_bert.subnet

    class Plain(paddle.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.model = sub_model

        def forward(self, input_ids: Any, token_type_ids: Any) -> Any:
            return self.model(input_ids, token_type_ids).logits

    # Paddle's rewriting of these does not know zip(strict=True).
    paddle.jit.ignore_module([ofa_bert.nn.encoder, ofa_bert.subnet])
    plain = Plain()
    plain.eval()
    return plain


def time_width(
    sub_model: ofa.BertForSequenceClassification,
    width: float,
    directory: Path,
    options: argparse.Namespace,
    left_out: dict[str, str],
) -> list[harness.Row]:
    """Time the engines on one sub-model."""
    rows = []
    vocab_size = sub_model.config.vocab_size
    with ExitStack() as stack:
        children = start_engines(stack, directory, options, left_out)
        for shape in options.shapes:
            expected = reference_logits(sub_model, shape)
            differences = {
                name: float(np.abs(child.ask(vocab_size=vocab_size, shape=shape) - expected).max())
                for name, child in children.items()
            }
            seconds = harness.in_turns(
                children,
                options.rounds,
                vocab_size=vocab_size,
                shape=shape,
                budget=options.seconds,
            )
            ours = statistics.median(seconds["ours"]) if "ours" in seconds else None
            rows += [
                {
                    "width": width_label(width),
                    "rows x tokens": f"{shape[0]} x {shape[1]}",
                    "engine": name,
                    **harness.summary(values, "ms"),
                    "times ours": ours and statistics.median(values) / ours,
                    "largest logit difference": differences[name],
                }
                for name, values in seconds.items()
            ]
    return rows


def start_engines(
    stack: ExitStack, directory: Path, options: argparse.Namespace, left_out: dict[str, str]
) -> dict[str, Child]:
    """Start each engine in a process of its own; name in ``left_out`` those that do not start."""
    children = {}
    for name in options.engines:
        child = stack.enter_context(
            Child(
                "benchmarks.engines",
                *(name, str(directory), str(runtime.usable_cores())),
                environment=harness.without_settings(),
                python=options.peer_python if name in PEER_ENGINES else sys.executable,
            )
        )
        try:
            child.ask()
            children[name] = child
        except ChildError as error:
            left_out[name] = str(error)
    return children


def reference_logits(
    sub_model: ofa.BertForSequenceClassification, shape: tuple[int, int]
) -> np.ndarray:
    """Give the logits of the dynamic model."""
    import paddle

    ids = token_ids(sub_model.config.vocab_size, *shape)
    with paddle.no_grad():
        return sub_model(*map(paddle.to_tensor, ids)).logits.numpy()


if __name__ == "__main__":
    main()
