import hashlib

import numpy as np
import pytest

from ofa_bert.data.tokenizer import Tokenizer
from ofa_bert.fingerprint import hash_arrays
from ofa_bert.task import EncodedTask, fingerprints
from tests.tiny import tiny_config, tiny_dataset, tiny_model

BASE = {"a": np.array([[1, 2], [3, 4]], "int32"), "b": np.array([0.5], "float32")}


def test_the_hash_is_of_form_and_content_by_hand():
    written = b"'a' <i4 (2, 2)\n" + bytes([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0])
    written += b"'b' <f4 (1,)\n" + bytes([0, 0, 0, 0x3F])
    assert hash_arrays(BASE) == hashlib.sha256(written).hexdigest()


def test_it_depends_on_neither_order_nor_memory_layout():
    other = {"b": BASE["b"], "a": np.asfortranarray(BASE["a"])}
    assert hash_arrays(other) == hash_arrays(BASE)


@pytest.mark.parametrize(
    "changed",
    [
        {"a": np.array([[1, 2], [3, 5]], "int32")},
        {"a": np.array([[1, 2, 3, 4]], "int32")},
        {"a": np.array([[1, 2], [3, 4]], "int64")},
        {"c": np.zeros(0)},
        {"b": np.array(0.5, "float32")},
    ],
)
def test_any_difference_shows(changed):
    assert hash_arrays({**BASE, **changed}) != hash_arrays(BASE)


def task(**changes):
    values = {"train": tiny_dataset(5, seed=1), "dev": {"dev": tiny_dataset(4, seed=2)}, **changes}
    return EncodedTask("own", values.pop("labels", ("a", "b", "c")), False, (), **values)


def of(model=None, tokenizer=None, **changes):
    tokenizer = tokenizer or Tokenizer.from_vocab(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b"])
    return fingerprints(model or tiny_model(), tokenizer, task(**changes))


def test_weights_and_rows_have_their_own():
    model = tiny_model()
    first = of(model)
    assert first == of(tiny_model())
    assert first.keys() == {"model", "tokenizer", "labels", "training rows", "dev rows"}
    model.classifier.bias.set_value(model.classifier.bias + 1e-6)
    other_vocabulary = Tokenizer.from_vocab(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "b", "a"])
    changed = [
        ("model", of(model)),
        ("model", of(tiny_model(tiny_config(hidden_dropout_prob=0.3)))),
        ("model", of(tiny_model(tiny_config(classifier_dropout=0.3)))),
        ("tokenizer", of(tokenizer=other_vocabulary)),
        ("labels", of(labels=("a", "b", "d"))),
        ("training rows", of(train=tiny_dataset(5, seed=3))),
        ("dev rows", of(dev={"dev": tiny_dataset(4, seed=3)})),
    ]
    for name, second in changed:
        assert [n for n in first if first[n] != second[n]] == [name]


def test_a_label_counts():
    rows = tiny_dataset(5, seed=1)
    before = rows.fingerprint()
    rows.labels[2] += 1
    assert rows.fingerprint() != before
