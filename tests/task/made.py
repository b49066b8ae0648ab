"""Files of a task and of a model for it, small enough for any test."""

from __future__ import annotations

from ofa_bert.checkpoint.save import save_model
from ofa_bert.config import SourceConfig
from tests.tiny import tiny_config, tiny_model, tiny_tokenizer, tiny_vocab

TRAIN = [("w1 w2", "good"), ("w3", "bad"), ("w4 w5 w6", "bad"), ("w7", "good"), ("w8", "bad")]
DEV = [("w2", "bad"), ("w1 w1", "good")]


def write_tsv(path, rows):
    path.write_text("".join(f"{t}\t{label}\n" for t, label in [("text", "label"), *rows]))
    return str(path)


def write_model(directory, *, keep_classifier=True, **changes):
    """A checkpoint directory; without classifier it is what pretraining leaves."""
    config = tiny_config(**{"num_classes": 2, **changes})
    model = tiny_model(config)
    if not keep_classifier:
        del model.classifier
    save_model(model, directory, tiny_tokenizer(directory.parent / "tokenizer"))
    return SourceConfig(str(directory))


def ids_of(text):
    vocab = tiny_vocab()
    return [vocab.index(token) for token in ["[CLS]", *text.split(), "[SEP]"]]
