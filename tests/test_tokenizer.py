import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken

from ofa_bert.data.readers import read_examples
from ofa_bert.data.rows import Columns
from ofa_bert.data.tokenizer import Tokenizer, load_tokenizer, longest_first
from ofa_bert.errors import InputError
from tests.shared_data import shared

VOCAB = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "un",
    "##aff",
    "##able",
    "we",
    "£",
    "中",
    "W",
]


def ids_of(encoded):
    return [list(row) for row in encoded.input_ids]


def types_of(encoded):
    return [list(row) for row in encoded.token_type_ids]


def write_vocab(folder, tokens=VOCAB, end="\n"):
    (folder / "vocab.txt").write_bytes("".join(token + end for token in tokens).encode())
    return folder


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


ADDED = {"covid19x": 13, "[e1]": 12}
DECODER = {
    "0": {"content": "[PAD]", "special": True},
    "5": {"content": "un", "normalized": True, "single_word": True},
    "12": {"content": "[E1]", "normalized": False, "special": True},
}


def test_added_tokens_follow_the_vocabulary(tmp_path):
    write_vocab(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps(ADDED))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.vocab_size == 14
    texts = ["we [E1] we", "Covid19x we[e1]", "un[PAD]"]
    expected = [[2, 8, 12, 8, 3], [2, 13, 8, 12, 3], [2, 5, 0, 3]]
    assert ids_of(tokenizer.encode(texts, None, 8)) == expected
    (tmp_path / "saved").mkdir()
    tokenizer.save(tmp_path / "saved")
    assert ids_of(load_tokenizer(tmp_path / "saved").encode(texts, None, 8)) == expected
    (tmp_path / "saved" / "tokenizer.json").unlink()
    assert ids_of(load_tokenizer(tmp_path / "saved").encode(texts, None, 8)) == expected


def test_added_tokens_of_a_config_keep_their_kind(tmp_path):
    write_vocab(tmp_path)
    config = {"added_tokens_decoder": DECODER}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    encoded = load_tokenizer(tmp_path).encode(["we[E1]un", "[e1] unable"], None, 8)
    # A special one is found as it is written; "un" at the start of a word is a piece of it.
    assert ids_of(encoded) == [[2, 8, 12, 5, 3], [2, 1, 1, 1, 5, 7, 3]]


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


@pytest.mark.filterwarnings("ignore")  # paddlenlp's import
def test_ids_of_added_tokens_are_paddlenlps(tmp_path):
    transformers = pytest.importorskip("paddlenlp.transformers")
    write_vocab(tmp_path)
    theirs = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    theirs.add_tokens(["[E1]", "covid19x"])
    (tmp_path / "added_tokens.json").write_text(json.dumps(theirs.get_added_vocab()))
    ours = load_tokenizer(tmp_path)
    for text in ["we [E1] we", "covid19xun we", "[e1]COVID19X", "中[E1]中", "xcovid19x.we"]:
        assert ids_of(ours.encode([text], None, 32)) == [theirs(text)["input_ids"]], text


@pytest.mark.filterwarnings("ignore")  # paddlenlp's import
@pytest.mark.parametrize(
    "tokens",
    [
        [*VOCAB, ""],
        [*VOCAB[:6], "", *VOCAB[6:]],
        [*VOCAB, "we"],
        [*VOCAB[:6], "we", *VOCAB[6:]],
        ["", *VOCAB, "", "we", "last"],
    ],
)
def test_ids_of_tokens_added_to_a_vocabulary_with_doubles_and_gaps(tmp_path, tokens):
    transformers = pytest.importorskip("paddlenlp.transformers")
    write_vocab(tmp_path, tokens)
    theirs = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    theirs.add_tokens(["[e1]", "covid19x"])
    (tmp_path / "added_tokens.json").write_text(json.dumps(theirs.get_added_vocab()))
    assert_same_ids(load_tokenizer(tmp_path), theirs, ["we [e1] un", "covid19x £[e1]un unable"])


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


def test_special_ids_and_vocab():
    tokenizer = Tokenizer.from_vocab(["un", "[PAD]", "[SEP]", "[CLS]", "[UNK]"])
    assert tokenizer.pad_token_id == 1
    assert tokenizer.vocab_size == 5
    assert tokenizer.vocab == {"un": 0, "[PAD]": 1, "[SEP]": 2, "[CLS]": 3, "[UNK]": 4}
    assert ids_of(tokenizer.encode(["un"], None, 8)) == [[3, 0, 2]]
    assert tokenizer.fingerprint != Tokenizer.from_vocab(VOCAB).fingerprint


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


def real_texts(language):
    if language == "english":
        path, columns = "data/glue/MRPC/train.tsv", Columns(("#1 String", "#2 String"), "Quality")
    else:
        path, columns = "data/chnsenticorp/train.tsv", Columns(("0",), "1")
    return read_examples(shared(path), columns)


# Symbols, accents, controls, ideographs of every block, special tokens and long words.
ODD_TEXTS = [
    "£5 a°C ©2020 x²µ ½ ™ 〇 Ø Ʊ Ŋ",
    "Ünïcödé ﬁ İ ß Ǆ",
    "zero\u200bwidth \xadsoft\u2028line\x85next\x00nul\ufffd",
    "漢字\U0002b900\U00020000㐀豈 ひらがな 한국어",
    "a [MASK] b [SEP]",
    "x" * 101,
    "…—“quotes”`^$|~",
    "😀a🇨🇳b",
]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::SyntaxWarning")
@pytest.mark.parametrize("language", ["english", "chinese"])
@pytest.mark.parametrize("do_lower_case", [True, False])
def test_ids_are_paddlenlps_on_a_thousand_real_sentences(tmp_path, language, do_lower_case):
    examples = real_texts(language)
    vocab = {"english": "bert-base-uncased", "chinese": "bert-base-chinese"}[language]
    vocab_file = shared(f"data/vocab/{vocab}-vocab.txt")
    transformers = pytest.importorskip("paddlenlp.transformers")
    theirs = transformers.BertTokenizer(str(vocab_file), do_lower_case=do_lower_case)
    (tmp_path / "vocab.txt").write_bytes(vocab_file.read_bytes())
    config = {"do_lower_case": do_lower_case}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours = load_tokenizer(tmp_path)
    assert_same_ids(ours, theirs, [e.text for e in examples[:1000]] + ODD_TEXTS)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::SyntaxWarning")
def test_ids_from_a_tokenizer_json_are_paddlenlps_too():
    texts = [e.text for e in real_texts("english")[1000:2000]]
    model_dir = shared("models/all-MiniLM-L6-v2")
    transformers = pytest.importorskip("paddlenlp.transformers")
    theirs = transformers.BertTokenizer(str(model_dir / "vocab.txt"))
    assert_same_ids(load_tokenizer(model_dir), theirs, texts + ODD_TEXTS)


def assert_same_ids(ours, theirs, texts):
    """Compare single texts, whole, and each with the next as a pair, mostly cut."""
    pairs = [*texts[1:], texts[0]]
    for text_pairs, length in [(None, 512), (pairs, 63)]:
        found = ours.encode(texts, text_pairs, length)
        for i, text in enumerate(texts):
            pair = None if text_pairs is None else text_pairs[i]
            expected = theirs(text, pair, max_length=length, truncation="longest_first")
            assert list(found.input_ids[i]) == expected["input_ids"], text
            assert list(found.token_type_ids[i]) == expected["token_type_ids"], text


@pytest.mark.filterwarnings("ignore")  # paddlenlp's import
def test_a_hub_name_finds_the_vocabulary_and_its_case_in_the_cache_of_paddlenlp(
    tmp_path, monkeypatch
):
    download = pytest.importorskip("paddlenlp.utils.download")
    vocab = tmp_path / "bert-base-cased-vocab.txt"
    vocab.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nCat\ncat\n")
    asked = []

    def find(name, filenames, **_):
        asked.append((name, filenames[0].rsplit("/", 1)[-1]))
        return str(vocab)

    monkeypatch.setattr(download, "resolve_file_path", find)
    monkeypatch.chdir(tmp_path)
    tokenizer = load_tokenizer("bert-base-cased")
    assert asked == [("bert-base-cased", "bert-base-cased-vocab.txt")]
    # [CLS] Cat cat [SEP]: a cased model keeps them apart.
    assert tokenizer.encode(["Cat cat"], None, 8).input_ids[0].tolist() == [2, 4, 5, 3]


@pytest.mark.filterwarnings("ignore")  # paddlenlp's import
def test_a_hub_name_that_paddlenlp_does_not_know_says_its_case_itself(
    tmp_path, monkeypatch, caplog
):
    download = pytest.importorskip("paddlenlp.utils.download")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nCat\ncat\n")

    def find(name, filenames, **_):
        assert name == "owner/cased"
        path = tmp_path / filenames[0]
        return str(path) if path.exists() else None

    monkeypatch.setattr(download, "resolve_file_path", find)
    monkeypatch.chdir(tmp_path)

    def ids():
        return load_tokenizer("owner/cased").encode(["Cat cat"], None, 8).input_ids[0].tolist()

    # [CLS] cat cat [SEP]: what BERT does without being told.
    assert ids() == [2, 5, 5, 3]
    assert "owner/cased has no tokenizer_config.json: texts are lower-cased" in caplog.text
    caplog.clear()
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert ids() == [2, 4, 5, 3]
    assert caplog.messages == []
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": "no"}')
    with pytest.raises(InputError, match=r"do_lower_case in tokenizer_config.json of owner/cased"):
        ids()
