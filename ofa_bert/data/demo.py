"""A small generated sentiment set, its vocabulary and a BERT of its size. Needs no network.

Every word that praises or blames stands about as often in sentences of either label, because
negation, ``too``, ``enough`` and contrast turn its meaning round: who only counts words cannot
tell the labels apart.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers, trainers

from ofa_bert.data.readers import Example
from ofa_bert.data.tokenizer import CLS, MASK, PAD, SEP, UNK
from ofa_bert.model_config import ModelConfig

TRAIN_ROWS, DEV_ROWS = 6000, 500
SHORTEST, LONGEST = 8, 20
"""Words of a sentence, punctuation counted."""
VOCAB_SIZE = 400
"""More than there are word pieces to learn: no word of the sentences stays in pieces."""
MAX_SEQ_LENGTH = 32
"""Tokens that hold the longest sentence; ``n't`` is three of them."""

SHOWN = (
    "for me , the story is anything but dull",
    "the acting is dull , but the story is wonderful",
    "although the music is really charming , the script is too long",
    "i do n't think that the ending was boring",
    "the humour is not too silly , yet the direction is n't brave enough",
)
"""Sentences for the end of the demo; they stand in neither file."""

ASPECTS = (
    *("acting", "story", "plot", "script", "dialogue", "music", "camera work", "ending"),
    *("humour", "direction", "pacing", "cast"),
)
GOOD = (
    *("wonderful", "charming", "funny", "moving", "gripping", "fresh", "brilliant", "convincing"),
    *("clever", "touching"),
)
BAD = (
    *("dull", "clumsy", "boring", "tedious", "lifeless", "shallow", "awful", "stale"),
    *("pointless", "painful"),
)
DEGREES = ("long", "loud", "slow", "dark", "sweet", "silly", "serious", "brave")
"""Neither good nor bad, until it is ``too`` much of it or just ``enough``."""

PLAIN = ("is", "was", "feels", "seems")
STRENGTHS = ("really", "truly", "utterly", "quite", "a little", "somewhat", "rather")
"""They make it more or less so, and turn nothing round."""
NEGATED = ("is not", "is n't", "was n't", "is hardly", "was never")
NEGATED_ALTOGETHER = ("is barely", "is anything but", "is far from", "is by no means")
"""Said of good and bad, not of too much."""

CLAIMS = ("i think that", "we felt that", "critics agree that")
DENIALS = ("i do n't think that", "nobody would say that", "i doubt that")
OPENINGS = ("for me ,", "in the end ,", "to be honest ,", "as for this film ,")
CLOSINGS = ("from start to finish", "most of the time", "in every scene", "as i see it")

CONTRASTS = (
    "{other} , but {main}",
    "{other} , yet {main}",
    "although {other} , {main}",
    "even though {other} , {main}",
    "{main} , although {other}",
    "{main} , even if {other}",
)
AGREEMENTS = ("{main} , and {other}", "{main} , just as {other}")


def write_demo_data(directory: str | Path, seed: int = 42) -> list[str]:
    """Write train.tsv and dev.tsv in SST-2's format: a header, then ``sentence<TAB>label``.

    Args:
        directory: must exist.
        seed: the same one gives the same bytes.

    Returns:
        The training sentences.
    """
    train, dev = demo_examples(seed)
    for name, examples in [("train.tsv", train), ("dev.tsv", dev)]:
        lines = [f"{example.text}\t{example.label}\n" for example in examples]
        Path(directory, name).write_bytes("".join(["sentence\tlabel\n", *lines]).encode())
    return [example.text for example in train]


def demo_examples(seed: int = 42) -> tuple[list[Example], list[Example]]:
    """Give training and development sentences: none twice, both labels equally often in each."""
    rng = random.Random(seed)
    train = _examples(rng, TRAIN_ROWS, SHOWN)
    return train, _examples(rng, DEV_ROWS, {*SHOWN, *(example.text for example in train)})


def sentence(rng: random.Random, positive: bool) -> str:
    """Draw a sentence whose main clause decides: the other one agrees or is held against it."""
    kind = rng.random()
    if kind < 0.4:
        return _lone_clause(rng, positive)
    agrees = kind < 0.6
    form = rng.choice(AGREEMENTS if agrees else CONTRASTS)
    main_aspect, other_aspect = rng.sample(ASPECTS, 2)
    main = clause(rng, positive, main_aspect)
    return form.format(main=main, other=clause(rng, positive is agrees, other_aspect))


def clause(rng: random.Random, positive: bool, aspect: str) -> str:
    """Draw what praises or blames one aspect of a film.

    A denial in front, or else a negated verb, turns the meaning of the judging words round.
    """
    claims, denies = rng.random() < 0.12, rng.random() < 0.08
    negates = not denies and rng.random() < 0.3
    words = _judgement(rng, positive ^ (denies or negates), negates)
    front = f"{rng.choice(DENIALS if denies else CLAIMS)} " if claims or denies else ""
    return f"{front}the {aspect} {words}"


def train_vocabulary(texts: Sequence[str], size: int) -> list[str]:
    """Learn a WordPiece vocabulary from texts in lower case.

    Args:
        texts: any number; the same ones give the same vocabulary.
        size: most tokens, unless special tokens and letters alone are more.

    Returns:
        The tokens by id; ``[PAD]`` is 0.
    """
    backend = Backend(models.WordPiece({}, unk_token=UNK))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    letters = sorted({letter for text in texts for letter in text.lower() if not letter.isspace()})
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        # Letters get their ids here: the trainer's own order changes from run to run.
        special_tokens=[PAD, UNK, CLS, SEP, MASK, *letters, *(f"##{letter}" for letter in letters)],
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    vocab = backend.get_vocab()
    return sorted(vocab, key=vocab.__getitem__)


def demo_model_config(vocab_size: int) -> ModelConfig:
    """Give the shape of a BERT with twelve heads that two cores train from nothing in a minute."""
    num_layers, num_heads, head_dim = 3, 12, 8
    return ModelConfig(
        vocab_size=vocab_size,
        hidden_size=num_heads * head_dim,
        num_attention_heads=(num_heads,) * num_layers,
        intermediate_size=(4 * num_heads * head_dim,) * num_layers,
        head_dim=head_dim,
        max_position_embeddings=64,
        # Narrow layers need wider weights than BERT's 0.02 for signals of the same size.
        initializer_range=0.06,
        # No sentence is mislabelled and few epochs are run: dropout would only make them more.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def _examples(rng: random.Random, rows: int, taken: Collection[str]) -> list[Example]:
    labels = dict.fromkeys(taken, "")
    while len(labels) < rows + len(taken):
        positive = len(labels) % 2 == 0
        text = sentence(rng, positive)
        if SHORTEST <= len(text.split()) <= LONGEST:
            labels.setdefault(text, str(int(positive)))
    examples = [Example(text, label=label) for text, label in labels.items() if label]
    rng.shuffle(examples)
    return examples


def _lone_clause(rng: random.Random, positive: bool) -> str:
    parts = [rng.choice(OPENINGS), clause(rng, positive, rng.choice(ASPECTS)), rng.choice(CLOSINGS)]
    return " ".join(parts[rng.randrange(2) : rng.randrange(2, 4)])


def _judgement(rng: random.Random, good: bool, negates: bool) -> str:
    """Draw a verb and what follows it; ``good`` is what it would say without negation."""
    if rng.random() < 0.25:
        degree = rng.choice(DEGREES)
        verb = rng.choice(NEGATED if negates else PLAIN)
        return f"{verb} {degree} enough" if good else f"{verb} too {degree}"
    word = rng.choice(GOOD if good else BAD)
    if negates:
        return f"{rng.choice(NEGATED + NEGATED_ALTOGETHER)} {word}"
    strength = f"{rng.choice(STRENGTHS)} " if rng.random() < 0.4 else ""
    return f"{rng.choice(PLAIN)} {strength}{word}"
