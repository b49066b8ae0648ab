import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_bert.data.tokenizer import Tokenizer, longest_first
from tests.tokenizer.vocab import VOCAB, ids_of, types_of


def test_ids_by_hand():
    encoded = Tokenizer.from_vocab(VOCAB).encode(["We unaffable", "中we£we xyz", ""], None, 16)
    # A Chinese character and a symbol are words of their own; xyz is unknown.
    assert ids_of(encoded) == [[2, 8, 5, 6, 7, 3], [2, 10, 8, 9, 8, 1, 3], [2, 3]]
    assert types_of(encoded) == [[0] * 6, [0] * 7, [0] * 2]


def test_what_was_punctuation_in_an_older_unicode_is_none():
    # U+111C9 is a combining mark since Unicode 11: one unknown word, as in PaddleNLP.
    encoded = Tokenizer.from_vocab(VOCAB, do_lower_case=False).encode(["un\U000111c9we"], None, 16)
    assert ids_of(encoded) == [[2, 1, 3]]


def test_pair_ids_by_hand():
    encoded = Tokenizer.from_vocab(VOCAB).encode(["we", "we we"], ["un un", ""], 16)
    assert ids_of(encoded) == [[2, 8, 3, 5, 5, 3], [2, 8, 8, 3, 3]]
    assert types_of(encoded) == [[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1]]


def test_a_long_text_loses_its_end():
    encoded = Tokenizer.from_vocab(VOCAB).encode(["we un we un"], None, 4)
    assert ids_of(encoded) == [[2, 8, 5, 3]]


# Each from popping one token at a time with pencil and paper.
@pytest.mark.parametrize(
    ("first", "second", "budget", "kept"),
    [
        (3, 4, 7, (3, 4)),
        (5, 5, 9, (5, 4)),
        (5, 5, 8, (4, 4)),
        (9, 2, 6, (4, 2)),
        (2, 9, 6, (2, 4)),
        (9, 5, 5, (3, 2)),
        (5, 9, 5, (3, 2)),
        (0, 9, 4, (0, 4)),
        (4, 4, 0, (0, 0)),
    ],
)
def test_the_longer_of_a_pair_loses_first(first, second, budget, kept):
    assert longest_first(first, second, budget) == kept


@given(first=st.integers(0, 30), second=st.integers(0, 30), budget=st.integers(0, 40))
def test_longest_first_is_one_token_at_a_time(first, second, budget):
    kept, kept_pair = first, second
    while kept + kept_pair > budget:
        if kept > kept_pair:
            kept -= 1
        else:
            kept_pair -= 1
    assert longest_first(first, second, budget) == (kept, kept_pair)


def test_special_ids_and_vocab():
    tokenizer = Tokenizer.from_vocab(["un", "[PAD]", "[SEP]", "[CLS]", "[UNK]"])
    assert tokenizer.pad_token_id == 1
    assert tokenizer.vocab_size == 5
    assert tokenizer.vocab == {"un": 0, "[PAD]": 1, "[SEP]": 2, "[CLS]": 3, "[UNK]": 4}
    assert ids_of(tokenizer.encode(["un"], None, 8)) == [[3, 0, 2]]
    assert tokenizer.fingerprint != Tokenizer.from_vocab(VOCAB).fingerprint
