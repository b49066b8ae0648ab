"""Make the golden files: a tiny supernet, a sub-model and its static graph, and their logits.

    python -m tests.data.make_golden

Made once: ``tests/test_golden.py`` reads and runs them with every later version. Make them anew
only where a format changes on purpose, and keep the old ones beside them: they must stay readable.

The weights are those of ``tests/tiny.py``, seed 20; the logits come from ``tests/oracles.py``,
which is NumPy in float64 and knows nothing of the package.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np

from ofa_bert.checkpoint.load import load_model
from ofa_bert.checkpoint.weights import read_weights
from ofa_bert.export.export import export_width
from ofa_bert.importance import Importance
from ofa_bert.supernet import make_supernet, save_supernet
from tests.oracles import bert
from tests.tiny import tiny_batch, tiny_config, tiny_model, tiny_tokenizer

GOLDEN = Path(__file__).parent / "golden"
TEXTS = ["w1 w2s w3", "w4", "w5 w6ly w7 w8 w9 w10 w11 w12", "w13 unknown w14"]
WIDTH = 0.5
CONFIG = tiny_config(
    4,
    num_neurons=24,
    labels=("bad", "good", "so-so"),
    task_name="golden",
    max_position_embeddings=32,
    max_seq_length=16,
)


def main() -> None:
    """Write ``golden``: ``supernet``, ``sub_model``, ``static`` and ``expected.json``."""
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir()
    tokenizer = tiny_tokenizer(GOLDEN / "tokenizer")
    shutil.rmtree(GOLDEN / "tokenizer")
    generator = np.random.default_rng(20)
    scores = Importance(
        heads=tuple(generator.random(4) for _ in range(2)),
        neurons=tuple(generator.random(24) for _ in range(2)),
    )
    supernet = make_supernet(tiny_model(CONFIG, seed=20), scores, (1.0, 0.75, WIDTH))
    save_supernet(supernet, GOLDEN / "supernet", tokenizer)
    inputs = tiny_batch(20)
    export_width(
        supernet.model,
        WIDTH,
        supernet.subnet(WIDTH),
        tokenizer,
        sub_model_dir=GOLDEN / "sub_model",
        static_dir=GOLDEN / "static",
        max_seq_length=16,
        parity_inputs=[(inputs["input_ids"], inputs["token_type_ids"])],
    )
    encoded = tokenizer.encode(TEXTS, None, 16)
    expected = {
        "texts": TEXTS,
        "input_ids": [ids.tolist() for ids in encoded.input_ids],
        "supernet_logits": logits_of("supernet", encoded.input_ids),
        "logits": logits_of("sub_model", encoded.input_ids),
    }
    (GOLDEN / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


def logits_of(name, rows):
    """Give the oracle's logits of each row alone, from the files as they lie on the disk."""
    config = load_model(GOLDEN / name).config
    weights = read_weights(GOLDEN / name / "model.safetensors")
    weights = {key: value.astype("float64") for key, value in weights.items()}
    sizes = dataclasses.asdict(config)
    logits = []
    for ids in rows:
        (row,) = bert(
            weights,
            list(sizes["num_attention_heads"]),
            sizes["head_dim"],
            sizes["layer_norm_eps"],
            np.array([ids]),
            np.zeros((1, len(ids)), "int64"),
            np.ones((1, len(ids)), "int64"),
        )[0]
        logits.append(row.tolist())
    return logits


if __name__ == "__main__":
    main()
