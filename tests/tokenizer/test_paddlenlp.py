"""Ids are those of PaddleNLP's tokenizer, and so is what a name of the hub stands for."""

import json

import pytest

from ofa_bert.data.readers import read_examples
from ofa_bert.data.rows import Columns
from ofa_bert.data.tokenizer import load_tokenizer
from ofa_bert.errors import InputError
from tests.shared_data import shared
from tests.tokenizer.vocab import VOCAB, ids_of, write_vocab

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


def real_texts(language):
    if language == "english":
        path, columns = "data/glue/MRPC/train.tsv", Columns(("#1 String", "#2 String"), "Quality")
    else:
        path, columns = "data/chnsenticorp/train.tsv", Columns(("0",), "1")
    return read_examples(shared(path), columns)


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
@pytest.mark.parametrize("do_lower_case", [True, False])
def test_ids_of_additional_special_tokens_that_paddlenlp_saved(tmp_path, do_lower_case):
    transformers = pytest.importorskip("paddlenlp.transformers")
    write_vocab(tmp_path, [*VOCAB, "[T1]", "un1x"])
    theirs = transformers.BertTokenizer(str(tmp_path / "vocab.txt"), do_lower_case=do_lower_case)
    theirs.add_tokens(["covid19x"])
    special = ["[E1]", "[T1]", "un1x"]  # one that is new, two of the vocabulary
    theirs.add_special_tokens({"additional_special_tokens": special})
    theirs.save_pretrained(str(tmp_path / "saved"))
    texts = ["we [E1] un [T1]", "[e1]we [t1]", "weun1xunable UN1X", "covid19x中[E1]中[T1]un"]
    assert_same_ids(load_tokenizer(tmp_path / "saved"), theirs, texts)


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
