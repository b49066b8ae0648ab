import random
import re

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from ofa_bert.config import DataConfig
from ofa_bert.data import demo
from ofa_bert.data.dataset import load_task
from ofa_bert.data.demo import (
    DEV_ROWS,
    MAX_SEQ_LENGTH,
    SHOWN,
    TRAIN_ROWS,
    VOCAB_SIZE,
    clause,
    demo_examples,
    demo_model_config,
    sentence,
    train_vocabulary,
    write_demo_data,
)
from ofa_bert.data.tokenizer import Tokenizer
from ofa_bert.subnet import subnet_at_width

PRAISE = set(
    "wonderful charming funny moving gripping fresh brilliant convincing clever touching".split()
)
BLAME = set("dull clumsy boring tedious lifeless shallow awful stale pointless painful".split())
TURNS = r"\b(?:not|hardly|never|barely|anything but|far from|by no means|nobody|doubt)\b| n't "


def read(text):
    """Tell the label as a reader would: find the clause that decides, count what turns it."""
    main = text
    if text.startswith(("although ", "even though ")):
        main = text.split(" , ", 1)[1]
    elif re.search(" , (but|yet) ", text):
        main = re.split(" , (?:but|yet) ", text)[1]
    elif re.search(" , (although|even if|and|just as) ", text):
        main = re.split(" , (?:although|even if|and|just as) ", text)[0]
    words = set(main.split())
    good = bool(words & (PRAISE | {"enough"}))
    assert good != bool(words & (BLAME | {"too"})), text
    turned = len(re.findall(TURNS, main)) % 2 == 1
    return str(int(good != turned))


@pytest.fixture(scope="module")
def examples():
    return demo_examples(seed=42)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("the acting is really wonderful from start to finish", "1"),
        ("for me , the acting is n't wonderful", "0"),
        ("for me , the acting is hardly dull", "1"),
        ("in the end , the plot is anything but gripping", "0"),
        ("i do n't think that the plot is dull", "1"),
        ("i doubt that the plot is far from dull", "0"),
        ("as for this film , the music is too loud", "0"),
        ("as for this film , the music is not too loud", "1"),
        ("the ending was never brave enough in every scene", "0"),
        ("the acting is dull , but the story is wonderful", "1"),
        ("the acting is wonderful , yet the story is not", "error"),
        ("although the acting is not dull , the story is barely clever", "0"),
        ("the story is somewhat stale , even if the cast is n't", "0"),
        ("the story is charming , and nobody would say that the cast is awful", "1"),
    ],
)
def test_the_reader_agrees_with_labels_given_by_hand(text, label):
    if label == "error":  # Nothing said of the story: no sentence of the demo's.
        with pytest.raises(AssertionError):
            read(text)
    else:
        assert read(text) == label


def test_every_label_is_what_a_reader_says(examples):
    for example in [*examples[0], *examples[1]]:
        assert read(example.text) == example.label, example.text


def test_the_shown_sentences_read_as_they_should():
    assert [read(text) for text in SHOWN] == ["1", "1", "0", "1", "0"]


def test_counting_words_does_not_solve_it(examples):
    train, dev = examples
    vectorizer = CountVectorizer(token_pattern=r"\S+")
    model = LogisticRegression(max_iter=1000)
    model.fit(vectorizer.fit_transform([e.text for e in train]), [e.label for e in train])
    accuracy = model.score(vectorizer.transform([e.text for e in dev]), [e.label for e in dev])
    assert accuracy < 0.7


def test_sizes_balance_and_lengths(examples):
    for rows, expected in zip(examples, (TRAIN_ROWS, DEV_ROWS), strict=True):
        assert len(rows) == expected
        assert sum(example.label == "1" for example in rows) == expected // 2
        assert all(8 <= len(example.text.split()) <= 20 for example in rows)


def test_no_sentence_stands_twice(examples):
    texts = [*SHOWN, *(example.text for rows in examples for example in rows)]
    assert len(set(texts)) == len(SHOWN) + TRAIN_ROWS + DEV_ROWS


@pytest.mark.parametrize("draw", [sentence, lambda rng, good: clause(rng, good, "plot")])
@pytest.mark.parametrize("positive", [True, False])
def test_what_is_drawn_has_the_label_asked_for(draw, positive):
    rng = random.Random(1)
    assert {read(draw(rng, positive)) for _ in range(500)} == {str(int(positive))}


def test_the_seed_decides_the_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "TRAIN_ROWS", 200)
    monkeypatch.setattr(demo, "DEV_ROWS", 20)
    written = []
    for seed in (7, 7, 8):
        write_demo_data(tmp_path, seed)
        written.append([(tmp_path / name).read_bytes() for name in ("train.tsv", "dev.tsv")])
    assert written[0] == written[1]
    assert written[0] != written[2]


def test_the_files_are_those_of_sst2(tmp_path, examples):
    texts = write_demo_data(tmp_path)
    task = load_task(DataConfig("SST-2", data_dir=str(tmp_path)))
    assert (task.train, task.dev["dev"]) == examples
    assert texts == [example.text for example in task.train]


def test_a_vocabulary_by_hand():
    # Letters stand first; of the pairs a+b (twice) and a+c (once) there is room for one.
    vocabulary = ["a", "b", "c", "##a", "##b", "##c", "ab"]
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert train_vocabulary(["ab Ab", "ac"], size=12) == specials + vocabulary


def test_the_same_texts_give_the_same_vocabulary(examples):
    texts = [example.text for example in examples[0]]
    vocabularies = [train_vocabulary(texts, 300) for _ in range(3)]
    assert vocabularies[0] == vocabularies[1] == vocabularies[2]


def test_every_sentence_fits_and_has_no_unknown_word(examples):
    texts = [example.text for example in examples[0]]
    tokenizer = Tokenizer.from_vocab(train_vocabulary(texts, VOCAB_SIZE))
    unknown = tokenizer.vocab["[UNK]"]
    rows = tokenizer.encode([*texts, *SHOWN, *(e.text for e in examples[1])], None, 512).input_ids
    assert all(unknown not in row for row in rows)
    assert max(len(row) for row in rows) <= MAX_SEQ_LENGTH


def test_the_model_has_twelve_heads_that_its_widths_divide():
    config = demo_model_config(300)
    assert (config.vocab_size, set(config.num_attention_heads)) == (300, {12})
    heads = [subnet_at_width(config, width).num_heads[0] for width in (1.0, 5 / 6, 2 / 3, 1 / 2)]
    assert heads == [12, 10, 8, 6]
    assert config.max_position_embeddings >= MAX_SEQ_LENGTH
