"""A model and its task, ready to work on: labels agreed, texts tokenised."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ofa_bert.checkpoint.load import load_config, load_model
from ofa_bert.config import DataConfig, SourceConfig, SupernetConfig
from ofa_bert.data.cache import cache_key
from ofa_bert.data.dataset import TaskData, check_labels, load_task
from ofa_bert.data.encoded import EncodedDataset, encode_examples
from ofa_bert.data.readers import Example
from ofa_bert.data.tasks import same_task
from ofa_bert.data.tokenizer import Tokenizer, load_tokenizer
from ofa_bert.errors import MAX_NAME, InputError
from ofa_bert.fingerprint import hash_arrays
from ofa_bert.model_config import ROWS_OF_TEXTS, ModelConfig
from ofa_bert.nn.bert import BertForSequenceClassification
from ofa_bert.safe_text import one_line

logger = logging.getLogger(__name__)

MOST_UNKNOWN = 0.2
"""Share of unknown tokens of a split from which the vocabulary is one of another language."""
LABELS_SHOWN = 8


@dataclass(frozen=True)
class EncodedTask:
    """Labelled rows in token ids, with what the labels mean and how answers are scored."""

    name: str
    labels: tuple[str, ...]
    """Label of each class, by index; empty for a regression."""
    regression: bool
    metrics: tuple[str, ...]
    """Names of the metrics; their mean is the score."""
    train: EncodedDataset
    """Empty where it was not asked for."""
    dev: dict[str, EncodedDataset]
    """By name; MNLI has two."""


def load_model_and_task(
    source: SourceConfig, data: DataConfig, *, seed: int = 42, need_train: bool = True
) -> tuple[BertForSequenceClassification, Tokenizer, EncodedTask]:
    """Load a network, its tokenizer and the task's rows, with the labels in the network's order.

    A network without classifier gets a fresh one for the task's labels, drawn from ``seed``.
    The network's config is given labels, task, length, the number of texts and the tokenizer's
    padding id.

    Raises:
        InputError: if anything is missing or malformed, the labels differ, texts may be longer
            than the network's positions, or rows that it is only scored on are pairs where it
            learned single texts, or the other way round.
    """
    known = load_config(source.model_name_or_path)
    texts = load_task(
        data,
        need_train=need_train,
        known_labels=() if need_train else known.labels,
        regression=known.is_regression and not need_train,
    )
    model = load_model(
        source.model_name_or_path,
        num_classes=max(1, len(texts.labels)),
        labels=() if known.labels else texts.labels,  # a model's own names are compared below
        seed=seed,
    )
    tokenizer = load_tokenizer(source.model_name_or_path)
    config = model.config
    check_fits(config, tokenizer, data, pairs=texts.has_pairs)
    _warn_of_another_task(config, texts)
    _check_num_texts(config, texts, trains=need_train)
    labels = check_labels(config.labels, config.num_classes, texts.labels, texts.hub_labels)
    model.config = dataclasses.replace(
        config,
        labels=labels,
        task_name=texts.name,
        max_seq_length=data.max_seq_length,
        num_texts=2 if texts.has_pairs else 1,
        # Many a config.json leaves it at 0. No weight depends on it, and a graph masks by it.
        pad_token_id=tokenizer.pad_token_id,
    )
    logger.info("%s", describe_rows(texts, labels))
    return model, tokenizer, encode_task(texts, labels, tokenizer, data.max_seq_length)


def describe_rows(texts: TaskData, labels: tuple[str, ...]) -> str:
    """Say how many rows of each split were read, and which labels: ``dev 13 rows; labels 0, 1``."""
    splits = {"train": texts.train, **texts.dev}
    counts = ", ".join(f"{name} {len(rows)} rows" for name, rows in splits.items() if rows)
    if texts.regression:
        return f"{counts}; labels: numbers"
    shown = ", ".join(one_line(label, MAX_NAME) for label in labels[:LABELS_SHOWN])
    more = f", ... ({len(labels)} labels)" if len(labels) > LABELS_SHOWN else ""
    return f"{counts}; labels {shown}{more}"


def _warn_of_another_task(config: ModelConfig, texts: TaskData) -> None:
    """Warn of a classifier that answers to another question than the data's, both by name."""
    trained = config.task_name or DataConfig.task_name
    if DataConfig.task_name not in (trained, texts.name) and not same_task(trained, texts.name):
        logger.warning(
            "the model was trained for task %s and the data are of %s: unless it is to learn that "
            "now, check --task_name and --model_name_or_path",
            one_line(trained, MAX_NAME),
            one_line(texts.name, MAX_NAME),
        )


def _check_num_texts(config: ModelConfig, texts: TaskData, *, trains: bool) -> None:
    """Refuse pairs where the model learned single texts, or the other way round.

    What it is trained on it may learn anew, so that there this is a warning.
    """
    found = 2 if texts.has_pairs else 1
    if config.num_texts is None or config.num_texts == found:
        return
    learned = ROWS_OF_TEXTS[config.num_texts]
    message = f"the model was trained on {learned} and the data are {ROWS_OF_TEXTS[found]}"
    if not trains:
        raise InputError(f"{message}; check --text_columns and --model_name_or_path")
    logger.warning(
        "%s: unless it is to learn that now, check --text_columns and --model_name_or_path", message
    )


def encode_task(
    texts: TaskData, labels: tuple[str, ...], tokenizer: Tokenizer, max_seq_length: int
) -> EncodedTask:
    """Tokenise a task's rows, with classes numbered by ``labels``."""
    # F1 counts the second class of the data, wherever it stands among the model's.
    positive = texts.labels[1] if len(texts.labels) == 2 else None
    positive_class = labels.index(positive) if positive in labels else 1

    def encode(name: str, examples: list[Example]) -> EncodedDataset:
        rows = encode_examples(examples, labels, tokenizer, max_seq_length)
        _warn_of_unknown_tokens(name, rows, tokenizer)
        return dataclasses.replace(rows, positive_class=positive_class)

    return EncodedTask(
        name=texts.name,
        labels=labels,
        regression=texts.regression,
        metrics=texts.metrics,
        train=encode("train", texts.train),
        dev={name: encode(name, examples) for name, examples in texts.dev.items()},
    )


def _warn_of_unknown_tokens(name: str, rows: EncodedDataset, tokenizer: Tokenizer) -> None:
    """Warn of texts in a language that the vocabulary does not know."""
    around = sum(int((rows.input_ids == i).sum()) for i in tokenizer.frame_ids)
    unknown = int((rows.input_ids == tokenizer.unk_token_id).sum())
    share = unknown / max(1, len(rows.input_ids) - around)
    if share > MOST_UNKNOWN:
        logger.warning(
            "%.0f %% of the tokens of %s are unknown to this vocabulary; use a model of the texts' "
            "language",
            100 * share,
            name,
        )


def fingerprints(
    model: BertForSequenceClassification, tokenizer: Tokenizer, task: EncodedTask
) -> dict[str, str]:
    """Hash what a run starts from: the network, and the rows as it sees them.

    Returns:
        Hashes by name; with the same ones and the same settings a run gives the same result.
    """
    arrays = {name: parameter.numpy() for name, parameter in model.state_dict().items()}
    # Dropout rates, for one, decide the result and are in no weight.
    config = str(dataclasses.replace(model.config, labels=()))
    arrays["config.json"] = np.frombuffer(config.encode(), "uint8")
    rows = {f"{name} rows": dataset.fingerprint() for name, dataset in task.dev.items()}
    return {
        "model": hash_arrays(arrays),
        "tokenizer": cache_key([tokenizer.fingerprint]),
        "labels": cache_key(task.labels),
        "training rows": task.train.fingerprint(),
        **rows,
    }


def importance_rows(task: EncodedTask, config: SupernetConfig) -> EncodedDataset:
    """Give the rows that score importance, from all over the training or the (first) dev set."""
    rows = task.train if config.importance_split == "train" else next(iter(task.dev.values()))
    return rows if config.importance_examples == -1 else rows.spread(config.importance_examples)


def warn_of_poor_teacher(task: EncodedTask, scores: Mapping[str, float]) -> None:
    """Warn of a teacher that is right less often than one that always names the largest class."""
    for name, rows in task.dev.items():
        metric = "accuracy" if len(task.dev) == 1 else f"accuracy_{name}"
        if metric not in scores:
            continue
        share = np.bincount(rows.labels).max() / len(rows)
        if scores[metric] < share:
            logger.warning(
                "the teacher's accuracy on %s is %.4f, below %.4f, the share of the largest class: "
                "its classes may stand in another order than %s (say which in its config.json, as "
                "id2label), or it was trained for another task",
                name,
                scores[metric],
                share,
                ", ".join(task.labels),
            )


def check_fits(
    config: ModelConfig, tokenizer: Tokenizer, data: DataConfig, *, pairs: bool = False
) -> None:
    """Raise ``InputError`` unless the network can take the tokenizer's ids, lengths and pairs."""
    longest = config.max_position_embeddings
    if data.max_seq_length > longest:
        raise InputError(
            f"max_seq_length must be at most {longest}, the model's positions; "
            f"got {data.max_seq_length}; type --max_seq_length {longest}"
        )
    if tokenizer.vocab_size > config.vocab_size:
        raise InputError(
            f"the vocabulary has {tokenizer.vocab_size} tokens, the model's embedding "
            f"{config.vocab_size} rows; use the tokenizer the model was trained with"
        )
    if pairs and config.type_vocab_size < 2:
        raise InputError(
            "the model must know two segments (type_vocab_size) to read pairs of texts; got "
            f"{config.type_vocab_size}; use another model, or name one text column"
        )
