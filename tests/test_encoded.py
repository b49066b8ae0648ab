import logging
import subprocess
import sys

import numpy as np
import pytest

from ofa_bert.data import cache, encoded
from ofa_bert.data.encoded import EncodedDataset, encode_examples, encode_labels
from ofa_bert.data.ragged import Ragged
from ofa_bert.data.readers import Example
from ofa_bert.data.tokenizer import Tokenizer
from ofa_bert.errors import InputError

TOKENIZER = Tokenizer.from_vocab(["[UNK]", "[PAD]", "[CLS]", "[SEP]", "a", "b"])
EXAMPLES = [Example("a b", None, "no"), Example("b", None, "yes")]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("OFA_BERT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def encode(examples=EXAMPLES, labels=("no", "yes"), tokenizer=TOKENIZER, length=8):
    return encode_examples(examples, labels, tokenizer, length)


def same(left, right):
    names = ("input_ids", "token_type_ids", "offsets", "labels")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)


def test_ragged_rows_by_hand():
    rows = Ragged(np.array([4, 5, 6], "int32"), np.array([0, 2, 2, 3]))
    assert [list(row) for row in rows] == [[4, 5], [], [6]]
    assert (len(rows), list(rows[-1])) == (3, [6])
    with pytest.raises(IndexError, match="row must be below 3; got 3"):
        rows[3]


def test_a_data_set_by_hand():
    dataset = encode()
    assert list(dataset.input_ids) == [2, 4, 5, 3, 2, 5, 3]
    assert list(dataset.token_type_ids) == [0] * 7
    assert list(dataset.offsets) == [0, 4, 7]
    assert list(dataset.lengths) == [4, 3]
    assert list(dataset.labels) == [0, 1]
    assert (len(dataset), dataset.pad_token_id) == (2, 1)
    assert dataset.input_ids.dtype == dataset.token_type_ids.dtype == np.int32
    assert dataset.labels.dtype == np.int64
    assert [list(part) for part in dataset.row(1)] == [[2, 5, 3], [0, 0, 0]]


def test_pairs_and_numbers_by_hand():
    dataset = encode([Example("a", "b b", 2.5)], labels=())
    assert list(dataset.input_ids) == [2, 4, 3, 5, 5, 3]
    assert list(dataset.token_type_ids) == [0, 0, 0, 1, 1, 1]
    assert dataset.labels.dtype == np.float32
    assert list(dataset.labels) == [2.5]


def test_labels_are_places_in_the_order_given():
    assert list(encode_labels(EXAMPLES, ("yes", "no"))) == [1, 0]
    assert list(encode_labels([], ("yes", "no"))) == []


@pytest.mark.parametrize(
    ("label", "labels", "message"),
    [
        ("maybe", ("no", "yes"), r"labels must be among \['no', 'yes'\]; got \['maybe'\]"),
        (None, ("no", "yes"), r"labels must be among .*; got \['None'\]"),
        (None, (), "labels of a regression must be numbers; got a text without one"),
        ("no", (), "labels of a regression must be numbers; got a text without one"),
    ],
)
def test_labels_that_do_not_fit(label, labels, message):
    with pytest.raises(InputError, match=message):
        encode_labels([Example("a", None, label)], labels)


def test_no_example_makes_an_empty_data_set(cache_folder):
    dataset = encode([])
    assert (len(dataset), list(dataset.lengths)) == (0, [])
    assert not cache_folder.exists()


def test_rows_at_even_distances():
    texts = ["a", "a b", "b", "b a", "a a b", "b b", "a a"]
    examples = [Example(text, None, "no") for text in texts]
    spread = encode(examples).spread(3)
    assert isinstance(spread, EncodedDataset)
    assert same(spread, encode([examples[i] for i in (0, 2, 4)]))
    assert same(encode().spread(5), encode())


def test_rows_of_a_sorted_file_are_of_every_class():
    examples = [Example("a", None, label) for label in ["no"] * 6 + ["yes"] * 2]
    assert list(encode(examples).spread(4).labels) == [0, 0, 0, 1]


def test_texts_are_tokenised_once(monkeypatch, cache_folder):
    first = encode()
    assert len(list(cache_folder.iterdir())) == 1
    monkeypatch.setattr(encoded, "_tokenize", lambda *args: pytest.fail("tokenised again"))
    assert same(encode(), first)
    # Labels are no part of what is kept.
    assert list(encode(labels=("yes", "no")).labels) == [1, 0]


def test_without_the_cache_nothing_is_written(cache_folder):
    encode_examples(EXAMPLES, ("no", "yes"), TOKENIZER, 8, use_cache=False)
    assert not cache_folder.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"length": 3},
        {"tokenizer": Tokenizer.from_vocab(["[UNK]", "[PAD]", "[CLS]", "[SEP]", "b", "a"])},
        {"examples": [Example("a", None, "no"), Example("b b", None, "yes")]},
        {"examples": [Example("a b", "", "no"), Example("b", "", "yes")]},
    ],
)
def test_whatever_changes_the_ids_changes_the_key(changes):
    assert not same(encode(), encode(**changes))


def test_keys_tell_parts_apart():
    # SHA-256 of the characters 1:a, from coreutils' sha256sum.
    assert cache.cache_key(["a"]) == (
        "4162fddd39a3e4225e8e2392eced237fbeb34e6e218b5647d27bd4d2b9c0da24"
    )
    parts = [["ab", "c"], ["a", "bc"], ["abc"], ["abc", None], ["abc", ""], ["1:a"], ["a", "a"]]
    assert len({cache.cache_key(p) for p in parts}) == len(parts)


@pytest.mark.parametrize("damage", [b"", b"not a zip file", None])
def test_a_broken_cache_file_is_made_anew(cache_folder, caplog, damage):
    first = encode()
    (path,) = cache_folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with caplog.at_level(logging.INFO):
        assert same(encode(), first)
    assert "is broken and made anew" in caplog.text
    assert path.stat().st_size == len(whole)


def test_no_flipped_bit_of_the_cache_comes_through(monkeypatch, tmp_path):
    monkeypatch.setenv("OFA_BERT_CACHE", str(tmp_path))
    # So large that NumPy reads the header before zipfile has seen the data's end.
    kept = {"a": np.arange(6000, dtype="float32").reshape(2, 3000)}
    cache.cached_arrays("key", ["a"], lambda: kept)
    path = tmp_path / "key.npz"
    whole = path.read_bytes()
    assert len(whole) > 24_000
    # The headers, the middle, and the directory at the end.
    for place in [*range(200), 12_000, *range(len(whole) - 90, len(whole))]:
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            found = cache._read(path, ["a"])
            assert found is None or same_arrays(found, kept), (place, bit)


def same_arrays(found, expected):
    return found.keys() == expected.keys() and all(
        (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        and found[name].tobytes() == values.tobytes()
        for name, values in expected.items()
    )


def test_what_a_kill_left_while_it_wrote_goes(cache_folder):
    source = """
import os
import numpy as np
from ofa_bert.data.cache import cached_arrays
np.savez = lambda file, **arrays: (file.write(b"half"), file.flush(), os._exit(9))
cached_arrays("key", ["a"], lambda: {"a": np.zeros(3)})
"""
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 9
    (left,) = cache_folder.iterdir()
    assert (left / "key.npz").read_bytes() == b"half"
    encode()
    assert not left.exists()
    assert [path.suffix for path in cache_folder.iterdir()] == [".npz"]


def test_pickles_in_the_cache_are_not_run(cache_folder):
    first = encode()
    (path,) = cache_folder.iterdir()
    np.savez(path, input_ids=np.array([print], dtype=object))
    assert same(encode(), first)


def test_a_cache_that_cannot_be_written_is_a_warning(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("OFA_BERT_CACHE", str(tmp_path / "file" / "cache"))
    assert len(encode()) == 2
    assert "nothing is kept for the next run: cannot write" in caplog.text


def test_a_full_disk_leaves_no_half_file(monkeypatch, cache_folder, caplog):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert len(encode()) == 2
    assert "No space left on device" in caplog.text
    assert list(cache_folder.iterdir()) == []


def test_where_the_cache_is(monkeypatch, tmp_path, cache_folder):
    assert cache.cache_directory() == cache_folder
    monkeypatch.delenv("OFA_BERT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_directory() == tmp_path / "xdg" / "ofa_bert"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.cache_directory() == tmp_path / "home" / ".cache" / "ofa_bert"
