"""Text in, label out: a static graph in Paddle Inference on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from paddle import inference

from ofa_bert.checkpoint.files import check_own_file, read_json, reason
from ofa_bert.data.tokenizer import load_tokenizer
from ofa_bert.deploy import (
    DEPLOY_FILE,
    EXPORT_HINT,
    GRAPH_FILE,
    PARAMS_FILE,
    DeployInfo,
)
from ofa_bert.errors import InputError
from ofa_bert.executor import (
    Executor,
    Way,
    check_precision,
    default_threads,
    fastest_way,
    load_graph,
)
from ofa_bert.model_config import ROWS_OF_TEXTS
from ofa_bert.rules import require
from ofa_bert.safe_graph import check_graph, check_params
from ofa_bert.width_folders import hint_of_widths

LENGTH_STEP = 8


@dataclass(frozen=True)
class Prediction:
    """The answer to one text."""

    label: str | None
    """The likeliest class (its index where labels are unknown); None for regression."""
    score: float
    """Probability of ``label``; for regression the number itself."""
    logits: tuple[float, ...]
    """What the graph gave."""


class Predictor:
    """Runs the static graph of a directory that ``export_static`` wrote.

    One predictor takes any batch size and length. It holds buffers: two threads need two.

    Batches of different sizes are run in different ways, each loaded when it is first needed.
    """

    def __init__(
        self, directory: str | Path, *, precision: str = "fp32", num_threads: int | None = None
    ) -> None:
        """Load the graph and its tokenizer.

        Args:
            directory: holds model.json, model.pdiparams, deploy.json and the tokenizer's files.
            precision: ``fp32``, or ``bf16`` for matrix products of half the size.
            num_threads: default: as ``executor.default_threads`` finds in the environment.

        Raises:
            InputError: if the directory is no static export or a file of it is broken, or if
                this CPU cannot do ``bf16``.
        """
        directory = Path(directory)
        check_precision(precision)
        self.info = read_deploy_info(directory)
        self.tokenizer = load_tokenizer(directory)
        check_graph(directory / GRAPH_FILE, self.info)
        check_params(directory / PARAMS_FILE)
        num_threads = num_threads or default_threads()
        self._way = partial(fastest_way, precision=precision, num_threads=num_threads)
        self._load = partial(load_graph, directory, precision, num_threads)
        # Loaded now, so that a broken graph fails here.
        self._unused: inference.Predictor | None = self._load(onednn=True)
        self._executors: dict[Way, Executor] = {}

    def predict(
        self,
        texts: Sequence[str],
        text_pairs: Sequence[str] | None = None,
        batch_size: int = 32,
    ) -> list[Prediction]:
        """Label texts, or pairs of texts, in the order given.

        Texts of similar length share a batch, so that little of the work is padding.

        Raises:
            InputError: if texts are one string, ``text_pairs`` has another length than ``texts`` or
                is given to a model of single texts, or not to one of pairs, or ``batch_size`` is
                below 1.
        """
        require(batch_size >= 1, f"batch_size must be at least 1; got {batch_size}")
        for name, value in [("texts", texts), ("text_pairs", text_pairs)]:
            # Which is a sequence of texts too: of its characters.
            require(
                not isinstance(value, str),
                f"{name} must be a list of texts; got one text; pass [text]",
            )
        given = 1 if text_pairs is None else 2
        if self.info.num_texts not in (None, given):
            raise InputError(
                f"the model labels {ROWS_OF_TEXTS[self.info.num_texts]}; "
                f"got {ROWS_OF_TEXTS[given]}; "
                + ("leave text_pairs out" if given == 2 else "pass text_pairs")
            )
        require(
            text_pairs is None or len(text_pairs) == len(texts),
            "text_pairs must have one text for each of texts; "
            f"got {len(text_pairs or ())} for {len(texts)}",
        )
        if not texts:
            return []
        encoded = self.tokenizer.encode(texts, text_pairs, self.info.max_seq_length)
        answers: list[Prediction | None] = [None] * len(texts)
        way = None
        for rows in batches_by_length([len(ids) for ids in encoded.input_ids], batch_size):
            input_ids = self._pad([encoded.input_ids[row] for row in rows], self.info.pad_token_id)
            token_type_ids = self._pad([encoded.token_type_ids[row] for row in rows], 0)
            # The first batch is the largest: its executor does for the shorter ones after it.
            way = way or self._way(input_ids.size)
            logits = self._run(way, input_ids, token_type_ids)
            for row, row_logits in zip(rows, logits, strict=True):
                answers[row] = self._answer(row_logits)
        return [answer for answer in answers if answer is not None]

    def logits(self, input_ids: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
        """Run the graph on padded ids.

        Args:
            input_ids: whole numbers ``[batch, seq_len]``; the padding id masks a position.
            token_type_ids: whole numbers ``[batch, seq_len]``.

        Returns:
            float32 ``[batch, num_classes]``.

        Raises:
            InputError: if the shapes differ or are empty, the sequence is too long, an id is out
                of range, or the graph gives no logits of its labels.
        """
        input_ids, token_type_ids = np.asarray(input_ids), np.asarray(token_type_ids)
        return self._run(self._way(input_ids.size), input_ids, token_type_ids)

    def _run(self, way: Way, input_ids: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
        """Check ids, run them, and check what comes out."""
        self._check_ids(input_ids, token_type_ids)
        try:
            logits = self._executor(way).run(input_ids, token_type_ids)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise InputError(
                f"the static graph cannot be run: {reason(error)}; {EXPORT_HINT}"
            ) from None
        classes = 1 if self.info.is_regression else len(self.info.labels) or logits.shape[-1]
        require(
            logits.shape == (len(input_ids), classes),
            f"the static graph must give [{len(input_ids)}, {classes}] logits; "
            f"got {list(logits.shape)}; {EXPORT_HINT}",
        )
        return logits

    def _executor(self, way: Way) -> Executor:
        """Give what runs batches that way."""
        if way not in self._executors:
            graph = self._unused if way.onednn else None
            self._unused = None
            graph = graph or self._load(onednn=way.onednn)
            self._executors[way] = Executor(graph, way.keep_buffers)
        return self._executors[way]

    def _check_ids(self, input_ids: np.ndarray, token_type_ids: np.ndarray) -> None:
        # The graph reads past its embeddings without a word if an id is too large.
        require(
            input_ids.ndim == 2 and input_ids.size > 0 and input_ids.shape == token_type_ids.shape,
            "input_ids and token_type_ids must have the same shape [batch, seq_len], not empty; "
            f"got {list(input_ids.shape)} and {list(token_type_ids.shape)}",
        )
        longest = self.info.max_position_embeddings
        require(
            input_ids.shape[1] <= longest,
            f"input_ids must be at most {longest} tokens long, the model's positions; "
            f"got {input_ids.shape[1]}",
        )
        for name, ids, size in [
            ("input_ids", input_ids, self.info.vocab_size),
            ("token_type_ids", token_type_ids, self.info.type_vocab_size),
        ]:
            require(
                ids.min() >= 0 and ids.max() < size,
                f"{name} must be 0 to {size - 1}; got {ids.min()} to {ids.max()}",
            )

    def _pad(self, rows: Sequence[np.ndarray], value: int) -> np.ndarray:
        """Pad to ``[batch, seq_len]``, a multiple of 8 where the model is that long.

        oneDNN prepares kernels anew for every shape, at the cost of time and memory.
        """
        longest = max(len(row) for row in rows)
        seq_len = min(-(-longest // LENGTH_STEP) * LENGTH_STEP, self.info.max_position_embeddings)
        padded = np.full((len(rows), seq_len), value, dtype="int64")
        for row, ids in zip(padded, rows, strict=True):
            row[: len(ids)] = ids
        return padded

    def _answer(self, logits: np.ndarray) -> Prediction:
        values = tuple(float(value) for value in logits)
        if self.info.is_regression:
            return Prediction(None, values[0], values)
        index = int(np.argmax(logits))
        probability = 1.0 / float(np.exp(logits.astype("float64") - logits[index]).sum())
        label = self.info.labels[index] if self.info.labels else str(index)
        return Prediction(label, probability, values)


def batches_by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Give row numbers in batches, longest rows first; rows of one length keep their order.

    The first batch is then the one that needs most memory.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def read_deploy_info(directory: Path) -> DeployInfo:
    """Read ``deploy.json`` and see that the files it names are there and whole.

    Raises:
        InputError: if not; the message names the file.
    """
    if not (directory / DEPLOY_FILE).is_file():
        raise InputError(
            f"static model directory must hold {DEPLOY_FILE}; got {directory}, which does not; "
            f"{hint_of_widths(directory) or EXPORT_HINT}"
        )
    try:
        info = DeployInfo.from_dict(read_json(directory / DEPLOY_FILE, "deployment file"))
        expected = [(name, info.file_bytes[name]) for name in (GRAPH_FILE, PARAMS_FILE)]
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{directory / DEPLOY_FILE} is not as an export writes it: {reason(error)}; "
            f"{EXPORT_HINT}"
        ) from None
    for name, size in expected:
        path = directory / name
        found = path.stat().st_size if path.is_file() else None
        if found is not None:
            check_own_file(path, "static model")
        if found != size:
            raise InputError(
                f"{path} must be a file of {size} bytes; "
                f"got {'no file' if found is None else f'{found} bytes'}; {EXPORT_HINT}"
            )
    return info
