from __future__ import annotations

import pytest

from ofa_bert.config import DataConfig
from tests.task.made import DEV, TRAIN, write_tsv


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("OFA_BERT_CACHE", str(tmp_path / "cache"))
    return DataConfig(
        task_name="own",
        train_file=write_tsv(tmp_path / "train.tsv", TRAIN),
        dev_file=write_tsv(tmp_path / "dev.tsv", DEV),
        text_columns=("text",),
        label_column="label",
        max_seq_length=16,
    )
