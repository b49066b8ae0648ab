"""Tokens that follow the vocabulary: where they are written, and which cannot be."""

import json

import pytest
from tokenizers import AddedToken

from ofa_bert.data.tokenizer import Tokenizer, load_tokenizer
from ofa_bert.errors import InputError
from tests.tokenizer.vocab import VOCAB, ids_of, write_vocab

ADDED = {"covid19x": 13, "[e1]": 12}
DECODER = {
    "0": {"content": "[PAD]", "special": True},
    "5": {"content": "un", "normalized": True, "single_word": True},
    "12": {"content": "[E1]", "normalized": False, "special": True},
}


def check_ids(tokenizer, texts, expected, saved):
    """It gives these ids, saved and loaded too, with a tokenizer.json and without."""
    assert ids_of(tokenizer.encode(texts, None, 8)) == expected
    saved.mkdir()
    tokenizer.save(saved)
    assert ids_of(load_tokenizer(saved).encode(texts, None, 8)) == expected
    (saved / "tokenizer.json").unlink()
    assert ids_of(load_tokenizer(saved).encode(texts, None, 8)) == expected


def test_added_tokens_follow_the_vocabulary(tmp_path):
    write_vocab(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps(ADDED))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.vocab_size == 14
    texts = ["we [E1] we", "Covid19x we[e1]", "un[PAD]"]
    expected = [[2, 8, 12, 8, 3], [2, 13, 8, 12, 3], [2, 5, 0, 3]]
    check_ids(tokenizer, texts, expected, tmp_path / "saved")


def test_added_tokens_of_a_config_keep_their_kind(tmp_path):
    write_vocab(tmp_path)
    config = {"added_tokens_decoder": DECODER}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    encoded = load_tokenizer(tmp_path).encode(["we[E1]un", "[e1] unable"], None, 8)
    # A special one is found as it is written; "un" at the start of a word is a piece of it.
    assert ids_of(encoded) == [[2, 8, 12, 5, 3], [2, 1, 1, 1, 5, 7, 3]]


def test_additional_special_tokens_are_found_as_they_are_written(tmp_path):
    write_vocab(tmp_path)
    (tmp_path / "added_tokens.json").write_text('{"[E1]": 12, "covid19x": 13}')
    special = {"pad_token": "[PAD]", "additional_special_tokens": ["[E1]", {"content": "un"}, "x"]}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(special))
    tokenizer = load_tokenizer(tmp_path)
    # "[", "e", "1" and "]" are unknown; "un", of the vocabulary, is found within a word too.
    texts = ["we[E1] COVID19X", "[e1]x", "weun Unable"]
    expected = [[2, 8, 12, 13, 3], [2, 1, 1, 1, 1, 3], [2, 8, 5, 5, 7, 3]]
    check_ids(tokenizer, texts, expected, tmp_path / "saved")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("added_tokens.json", {"x": 13}, "got id 13 for 'x', which would be 12; check added_tok"),
        ("added_tokens.json", {"x": 12, "y": 12}, "got id 12 for 'y', which would be 13"),
        ("added_tokens.json", {"we": 9}, "got id 9 for 'we', which would be 8"),
        ("added_tokens.json", {"x": "12"}, "must have an id below 4194304; got '12'"),
        ("added_tokens.json", {"": 12}, "must be a text of 1 to 200 characters; got ''"),
        ("added_tokens.json", {"\ud800": 12}, "must be a text of 1 to 200 characters; got"),
        ("added_tokens.json", {"x" * 201: 12}, "must be a text of 1 to 200 characters; got 'xx"),
        # Nothing is left of it, which the library's search fails on.
        ("added_tokens.json", {"\u200b": 12}, r"normalising leaves something; got '.u200b'"),
        ("added_tokens.json", {"\u0301\x00": 12}, r"normalising leaves something; got "),
        (
            "special_tokens_map.json",
            {"additional_special_tokens": "[E1]"},
            r"additional_special_tokens in .*map.json must be a list; got '\[E1\]'",
        ),
        (
            "special_tokens_map.json",
            {"additional_special_tokens": [3]},
            "map.json must be a text of 1 to 200 characters; got 3",
        ),
        ("tokenizer_config.json", {"added_tokens_decoder": [1]}, r"must be an object; got \[1\]"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"1": 2}}, "must be an object; got 2"),
        (
            "tokenizer_config.json",
            {"added_tokens_decoder": {"9" * 5000: {"content": "x"}}},
            "must have an id below 4194304; got '99",
        ),
        (
            "tokenizer_config.json",
            {"added_tokens_decoder": {"3": {"content": "[CLS]"}}},
            r"got id 3 for '\[CLS\]', which would be 2",
        ),
    ],
)
def test_added_tokens_that_cannot_be(tmp_path, name, values, message):
    write_vocab(tmp_path)
    (tmp_path / name).write_text(json.dumps(values))
    with pytest.raises(InputError, match=message):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("token", ["\n", " ", "\t", "\u3000", "\r\n"])
def test_an_added_token_may_be_white_space(tmp_path, token, normalized):
    added = [(12, AddedToken(token, normalized=normalized)), (13, AddedToken("[e1]"))]
    tokenizer = Tokenizer.from_vocab(VOCAB, added_tokens=added)
    texts, expected = [f"we{token}un{token}{token}we[e1]"], [[2, 8, 12, 5, 12, 12, 8, 13, 3]]
    assert ids_of(tokenizer.encode(texts, None, 16)) == expected
    tokenizer.save(tmp_path)
    assert ids_of(load_tokenizer(tmp_path).encode(texts, None, 16)) == expected
    # Its line in vocab.txt moves no other.
    assert (tmp_path / "vocab.txt").read_bytes().split(b"\n")[13:] == [b"[e1]", b""]


def test_an_added_token_that_is_not_normalised_may_be_invisible():
    added = [(12, AddedToken("\u200b", normalized=False))]
    tokenizer = Tokenizer.from_vocab(VOCAB, added_tokens=added)
    assert ids_of(tokenizer.encode(["we\u200bwe é"], None, 8)) == [[2, 8, 12, 8, 1, 3]]


def test_added_tokens_of_a_tokenizer_json_that_cannot_be(tmp_path):
    Tokenizer.from_vocab(VOCAB, added_tokens=[(12, AddedToken("[e1]"))]).save(tmp_path)
    whole = (tmp_path / "tokenizer.json").read_text()
    for content, message in [("\u200b", "normalising leaves"), ("x" * 201, "1 to 200 characters")]:
        (tmp_path / "tokenizer.json").write_text(whole.replace('"[e1]"', json.dumps(content)))
        with pytest.raises(InputError, match=message):
            load_tokenizer(tmp_path)


@pytest.mark.parametrize("tokens", [[*VOCAB, ""], [*VOCAB[:6], "we", *VOCAB[6:]]])
def test_added_tokens_may_follow_the_last_line_of_a_vocabulary_with_gaps(tmp_path, tokens):
    write_vocab(tmp_path, tokens)
    (tmp_path / "added_tokens.json").write_text('{"[e1]": 13, "[e2]": 14}')
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.vocab["[e1]"], tokenizer.vocab["[e2]"], tokenizer.vocab_size) == (13, 14, 15)
    ids = {token: i for i, token in enumerate(tokens)}
    expected = [[2, ids["we"], 13, ids["un"], 14, 3]]
    assert ids_of(tokenizer.encode(["we [e1] un[e2]"], None, 8)) == expected
    (tmp_path / "saved").mkdir()
    tokenizer.save(tmp_path / "saved")
    for _ in range(2):  # with tokenizer.json, and then of vocab.txt
        loaded = load_tokenizer(tmp_path / "saved")
        assert ids_of(loaded.encode(["we [e1] un[e2]"], None, 8)) == expected
        (tmp_path / "saved" / "tokenizer.json").unlink(missing_ok=True)
    (tmp_path / "added_tokens.json").write_text('{"[e1]": 14}')
    with pytest.raises(InputError, match=r"got id 14 for '.e1.', which would be 13"):
        load_tokenizer(tmp_path)
