"""Write what the fuzzers start from: a small well-formed file for each reader, and broken ones.

    python -m tests.fuzz.make_corpus

Files that a fuzzer found to break a reader are added beside these by hand, named after the fault.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from tests.fuzz.readers import READERS
from tests.tiny import VOCAB_SIZE, tiny_config, tiny_model, tiny_tokenizer
from tests.torch_archives import Storage, archive, tensor

CORPUS = Path(__file__).parent / "corpus"


def seeds() -> dict[str, dict[str, bytes]]:
    """Give the files by reader and name."""
    from ofa_bert.deploy import DeployInfo
    from ofa_bert.export.static import export_static

    config = tiny_config(labels=("a", "b", "c"))
    layers = {"heads": [[1, 2, 0, 3]] * 2, "neurons": [list(range(8))] * 2}
    supernet = {"width_mult_list": [1.0, 0.5], "importance": layers}
    subnet = {"layers": [0, 1], "num_heads": [2, 2], "num_neurons": [4, 4]}
    row = {
        "width_mult": 0.5,
        "subnet": subnet,
        "metrics": {"accuracy": 0.9},
        "teacher_score": 1,
        "latency_ms": 2,
    }
    weights = {"embeddings.layer_norm.weight": np.ones(3, "float32")}
    tokens = np.arange(3, dtype="int32")
    zipped = io.BytesIO()
    np.savez(zipped, input_ids=tokens)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tokenizer = tiny_tokenizer(folder)
        tokenizer.save(folder)
        export_static(tiny_model(), folder / "static", tokenizer=tokenizer, max_seq_length=16)
        storage = {"w.LayerNorm.": tensor(Storage("FloatStorage", "0", 3), 0, (3,), (1,))}
        read = {
            "tokenizer": (folder / "tokenizer.json").read_bytes(),
            "vocab": (folder / "vocab.txt").read_bytes(),
            "tokenizer_config": (folder / "tokenizer_config.json").read_bytes(),
            "graph": small_graph((folder / "static" / "model.json").read_bytes()),
            "torch": archive(folder / "a.bin", storage, {"0": bytes(12)}).read_bytes(),
        }
    run = {
        "command": "finetune",
        "settings": {"model_name_or_path": "m", "output_dir": "o", "text_columns": ["a", "b"]},
        "started_in": "/",
        "environment": {"python": "3.11"},
        "inputs": {"train.tsv": "0"},
        "weights_sha256": "0",
    }
    described = b"\x08\x05\x10\x02\x10\x03"  # float32 [2, 3]
    good: dict[str, bytes] = {
        "tsv": b"text\tlabel\nw1 w2\tgood\nw3\tbad\n",
        "csv": b'text,label\n"w1, ""w2""\nw3",good\nw3,bad\n',
        "jsonl": b'{"text": "w1", "label": 1}\n{"text": "w2", "label": 0.5}\n',
        "lines": b"w1\tw2\nw3\tw4\n",
        "added_tokens": json.dumps({"[e1]": VOCAB_SIZE, "covid19x": VOCAB_SIZE + 1}).encode(),
        "special_tokens": json.dumps(
            {"pad_token": "[PAD]", "additional_special_tokens": ["w1", {"content": "[E1]"}]}
        ).encode(),
        "pdparams": pickle.dumps(weights, 2),
        "safetensors": save(weights),
        "model_config": json.dumps(config.to_dict()).encode(),
        "model": json.dumps(tiny_config(num_neurons=8).to_dict()).encode(),
        "supernet": json.dumps(supernet).encode(),
        "deploy": json.dumps(DeployInfo.from_config(config, 16, {}).to_dict()).encode(),
        "results": json.dumps({"widths": [row]}).encode(),
        "rerun": json.dumps(run).encode(),
        "params": struct.pack("<IQIi", 0, 0, 0, 6) + described + bytes(24),
        "yaml": b"batch_size: 3\nwidth_mult_list: [1.0, 5/6]\nseed: 7\n",
        "settings": b"max_seq_length: 16\ntext_columns:\n- text\ntrain_file: null\n",
        "cache": zipped.getvalue(),
        **read,
    }
    found = {reader: {"good": content} for reader, content in good.items()}
    for reader, more in hostile().items():
        found[reader].update(more)
    assert found.keys() == READERS.keys()
    return found


def hostile() -> dict[str, dict[str, bytes]]:
    """Give files that are made to break their reader."""
    deep = b"[" * 20_000
    bomb = b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"
    claim = struct.pack("<Q", 1 << 45) + b"{}"
    config = tiny_config().to_dict()
    flags = {"normalized": True, "special": False, "lstrip": True}
    added = {str(VOCAB_SIZE): {"content": "[e1]", **flags}}
    return {
        "jsonl": {"deep": b'{"text": "w", "label": ' + deep},
        "csv": {"open_quote": b'text,label\n"w' + b",1\n" * 50},
        "pdparams": {
            "claims_terabytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
            "calls": b"\x80\x02cposix\nsystem\nU\x02ls\x85R.",
            "deep": b"\x80\x04" + b"]" * 50 + b"a" * 49 + b".",
        },
        "safetensors": {"claims_terabytes": claim},
        "model_config": {
            "claims_terabytes": json.dumps({**config, "vocab_size": 2**31}).encode(),
            "deep": deep,
            "twice": b'{"a": 1, "a": 2}',
        },
        "model": {"more_classes": json.dumps({**config, "num_classes": 2**31}).encode()},
        "tokenizer": {"deep": b'{"model": ' + deep},
        "tokenizer_config": {"added": json.dumps({"added_tokens_decoder": added}).encode()},
        "added_tokens": {"nothing_left": json.dumps({"\u200b": VOCAB_SIZE}).encode()},
        "special_tokens": {
            "no_list": b'{"additional_special_tokens": "[E1]"}',
            "no_text": b'{"additional_special_tokens": [{"content": 3}, [[]]]}',
        },
        "yaml": {
            "aliases": bomb,
            "deep": b"[" * 40,
            "merge": b"a: &a {b: 1}\nc: {<<: [*a, *a]}\n",
            "object": b"seed: !!python/object/apply:os.system [ls]\n",
            "month_13": b"seed: 2020-13-01\n",
            "power": b"width_mult_list: [1e999999999]\n",
        },
        "settings": {"number": b"max_seq_length: three\n", "no_list": b"text_columns: 3\n"},
        "results": {"no_widths": b'{"widths": [3]}', "infinite": b'{"widths": Infinity}'},
    }


def small_graph(content: bytes) -> bytes:
    """Keep the operations of a graph that hold its tables, and a few more."""
    program = json.loads(content)
    (block,) = program["program"]["regions"][0]["blocks"]
    block["ops"] = [op for op in block["ops"] if op["#"] in ("p", "1.embedding", "1.tanh")]
    return json.dumps(program, separators=(",", ":")).encode()


def main() -> None:
    """Write them."""
    for reader, files in seeds().items():
        folder = CORPUS / reader
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
