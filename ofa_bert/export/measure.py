"""File size and latency of every width, from graphs exported into a scratch directory."""

from __future__ import annotations

from collections.abc import Mapping

from ofa_bert.data.tokenizer import Tokenizer
from ofa_bert.deploy import GRAPH_FILE, PARAMS_FILE
from ofa_bert.export.latency import measure_latencies
from ofa_bert.export.static import write_static
from ofa_bert.extraction import extract
from ofa_bert.nn.bert import BertForSequenceClassification
from ofa_bert.places import scratch_directory
from ofa_bert.predictor import Predictor
from ofa_bert.subnet import Subnet


def measure_sub_models(
    model: BertForSequenceClassification,
    subnets: Mapping[float, Subnet],
    tokenizer: Tokenizer,
    max_seq_length: int,
    runs: int = 30,
) -> dict[float, tuple[int, float]]:
    """Measure each width as it would be deployed; nothing is left on the disk.

    Args:
        model: the supernet's model.
        subnets: sub-network of each width.
        tokenizer: any tokenizer of the model.
        max_seq_length: tokens of the one text that is timed.
        runs: forwards timed.

    Returns:
        For each width ``(file_bytes, latency_ms)``: size of the graph and its weights, and the
        median time of one text in Paddle Inference.
    """
    file_bytes, predictors = {}, {}
    with scratch_directory("measure") as temporary:
        for number, (width_mult, subnet) in enumerate(subnets.items()):
            directory = temporary / str(number)
            directory.mkdir()
            write_static(
                extract(model, subnet),
                directory,
                tokenizer=tokenizer,
                max_seq_length=max_seq_length,
            )
            file_bytes[width_mult] = sum(
                (directory / name).stat().st_size for name in (GRAPH_FILE, PARAMS_FILE)
            )
            predictors[width_mult] = Predictor(directory)
        latencies_ms = measure_latencies(predictors, max_seq_length, runs=runs)
    return {
        width_mult: (file_bytes[width_mult], latencies_ms[width_mult]) for width_mult in subnets
    }
