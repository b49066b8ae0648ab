from pathlib import Path

import pytest

from ofa_bert.checkpoint.save import save_model
from tests.tiny import tiny_config, tiny_model


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """Give the directory of a saved random model."""
    save_model(tiny_model(tiny_config(labels=("a", "b", "c"))), tmp_path / "model")
    return tmp_path / "model"
