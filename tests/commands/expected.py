"""What the commands' tests expect, without the package's own forward; copies of its directories."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from sklearn.metrics import accuracy_score

from tests.oracles import bert_of
from tests.runs import LABELS, MAX_SEQ_LENGTH
from tests.tiny import tiny_vocab

ROOT = Path(__file__).parents[2]


def logits_of(model, texts, max_seq_length=MAX_SEQ_LENGTH):
    """Logits of each text, in NumPy, from tokens cut to the maximal length."""
    vocab, rows = tiny_vocab(), []
    for text in texts:
        kept = text.split()[: max_seq_length - 2]
        ids = np.array([[vocab.index(token) for token in ["[CLS]", *kept, "[SEP]"]]])
        batch = {
            "input_ids": ids,
            "token_type_ids": np.zeros_like(ids),
            "attention_mask": np.ones_like(ids),
        }
        rows.append(bert_of(model, batch)[0][0])
    return np.stack(rows)


def dev_accuracy(work, model, max_seq_length=MAX_SEQ_LENGTH):
    rows = [line.split("\t") for line in (work / "dev.tsv").read_text().splitlines()[1:]]
    answers = logits_of(model, [text for text, _ in rows], max_seq_length).argmax(-1)
    return accuracy_score([LABELS.index(label) for _, label in rows], answers)


def tree(folder):
    """Everything below a folder, with contents."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def read_results(folder):
    return json.loads((folder / "results.json").read_text())


def supernet_with(supernet, folder, **changes):
    """A copy of the supernet whose run had other settings."""
    shutil.copytree(supernet[0], folder / "supernet")
    path = folder / "supernet" / "train_config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))
    return folder / "supernet"


def data_file(folder, text):
    (folder / "data.tsv").write_text(text)
    return folder / "data.tsv"


def script(*argv, stdin="", encoding=None):
    return subprocess.run(
        [sys.executable, *argv],
        input=stdin,
        capture_output=True,
        text=True,
        encoding=encoding,
        cwd=ROOT,
        timeout=300,
    )
