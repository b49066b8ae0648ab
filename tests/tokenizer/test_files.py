"""What is written is read back the same, and what cannot be read is named."""

import json

import pytest

from ofa_bert.data.tokenizer import Tokenizer, load_tokenizer
from ofa_bert.errors import InputError
from tests.shared_data import shared
from tests.tokenizer.vocab import VOCAB, ids_of, write_vocab


def test_a_config_beside_vocab_txt_keeps_case(tmp_path):
    write_vocab(tmp_path, end="\r\n")
    assert load_tokenizer(tmp_path).do_lower_case
    assert ids_of(load_tokenizer(str(tmp_path)).encode(["W"], None, 8)) == [[2, 1, 3]]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false, "other": 1}')
    tokenizer = load_tokenizer(tmp_path)
    assert not tokenizer.do_lower_case
    assert ids_of(tokenizer.encode(["W"], None, 8)) == [[2, 11, 3]]


def copy_with_config(folder, tokenizer, **config):
    tokenizer.save(folder)
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return load_tokenizer(folder)


def test_a_config_beside_tokenizer_json_wins_and_the_log_says_so(tmp_path, caplog):
    lower = Tokenizer.from_vocab(VOCAB)
    assert ids_of(lower.encode(["We W 中we"], None, 8)) == [[2, 8, 1, 10, 8, 3]]
    cased = copy_with_config(tmp_path, lower, do_lower_case=False, tokenize_chinese_chars=False)
    # "We" is none of the vocabulary, and "中we" is one word.
    assert ids_of(cased.encode(["We W 中we"], None, 8)) == [[2, 1, 11, 1, 3]]
    (message,) = caplog.messages
    assert "taking do_lower_case False (not True), tokenize_chinese_chars False" in message
    assert cased.fingerprint != lower.fingerprint
    # What is written of it agrees with itself.
    caplog.clear()
    (tmp_path / "saved").mkdir()
    cased.save(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").fingerprint == cased.fingerprint
    assert caplog.messages == []


def test_a_config_that_says_nothing_leaves_tokenizer_json_as_it_is(tmp_path, caplog):
    cased = Tokenizer.from_vocab(VOCAB, do_lower_case=False, strip_accents=True)
    assert copy_with_config(tmp_path, cased).fingerprint == cased.fingerprint
    assert caplog.messages == []


@pytest.mark.parametrize("do_lower_case", [True, False])
def test_saving_and_loading_changes_nothing(tmp_path, do_lower_case):
    tokenizer = Tokenizer.from_vocab(VOCAB, do_lower_case=do_lower_case)
    tokenizer.save(tmp_path)
    texts = ["We unaffable £we W", "中"]
    expected = ids_of(tokenizer.encode(texts, texts, 8))
    assert ids_of(load_tokenizer(tmp_path).encode(texts, texts, 8)) == expected
    (tmp_path / "tokenizer.json").unlink()
    from_vocab = load_tokenizer(str(tmp_path))
    assert ids_of(from_vocab.encode(texts, texts, 8)) == expected
    assert from_vocab.do_lower_case == do_lower_case
    assert (tmp_path / "vocab.txt").read_text("utf-8").splitlines() == VOCAB
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "BertTokenizer"


def test_the_saved_json_serves_other_readers_of_tokenizers(tmp_path):
    from tokenizers import Tokenizer as Backend

    Tokenizer.from_vocab(VOCAB).save(tmp_path)
    encoding = Backend.from_file(str(tmp_path / "tokenizer.json")).encode("we", "un")
    assert encoding.ids == [2, 8, 3, 5, 3]
    assert encoding.type_ids == [0, 0, 0, 1, 1]


def test_ids_of_a_vocabulary_with_doubles_and_gaps_stay_where_they_are(tmp_path):
    tokenizer = Tokenizer.from_vocab([*VOCAB, "", "we", "last"])
    assert (tokenizer.vocab["we"], tokenizer.vocab["last"], tokenizer.vocab_size) == (13, 14, 15)
    tokenizer.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert load_tokenizer(tmp_path).vocab["last"] == 14


def test_padding_and_truncation_in_a_json_do_not_leak():
    tokenizer = load_tokenizer(shared("models/all-MiniLM-L6-v2"))
    assert [len(row) for row in tokenizer.encode(["a", "a " * 300], None, 200).input_ids] == [
        3,
        200,
    ]


def test_an_empty_directory_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"must hold tokenizer.json or vocab.txt; got .*neither"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("token", ["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
def test_a_vocabulary_needs_its_special_tokens(tmp_path, token):
    write_vocab(tmp_path, [t for t in VOCAB if t != token])
    with pytest.raises(InputError, match=rf"vocabulary must hold .*; got none of \{token}"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", b"{", r"tokenizer .*tokenizer.json is not valid JSON"),
        ("tokenizer.json", b"{}", r"tokenizer.json must be a tokenizer; got a broken file"),
        (
            "tokenizer.json",
            b'{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}',
            r"tokenizer.json must hold a WordPiece tokenizer; got WordLevel",
        ),
        ("vocab.txt", b"\xff\xfe", r"vocab.txt cannot be read: .*utf-8"),
        ("tokenizer_config.json", b"{", r"tokenizer_config.json is not valid JSON"),
        ("tokenizer_config.json", b"3", r"tokenizer_config.json must hold a JSON object"),
        (
            "tokenizer_config.json",
            b'{"do_lower_case": "no"}',
            r"do_lower_case in .* must be true or false; got 'no'",
        ),
    ],
)
def test_broken_files_are_named(tmp_path, name, content, message):
    write_vocab(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_tokenizer(tmp_path)
