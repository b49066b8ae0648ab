from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ofa_bert import runtime
from ofa_bert.checkpoint.load import load_model
from ofa_bert.checkpoint.save import save_model
from ofa_bert.data.tokenizer import load_tokenizer
from ofa_bert.errors import InputError
from ofa_bert.export import export as export_module
from ofa_bert.export.export import export_width
from ofa_bert.export.measure import measure_sub_models
from ofa_bert.export.model_card import CardFacts
from ofa_bert.export.parity import ParityError
from ofa_bert.export.source import card_facts, random_batches
from ofa_bert.export.staging import STATIC, SUB_MODEL, check_replaceable, staged
from ofa_bert.export.static import export_static
from ofa_bert.predictor import Predictor
from ofa_bert.subnet import count_params, describe, resolve_widths, subnet_at_width
from tests.runs import contents
from tests.tiny import tiny_batch, tiny_config, tiny_model, tiny_tokenizer

import paddle  # isort: skip

ROOT = Path(__file__).parent.parent
CONFIG = tiny_config(num_neurons=29, labels=("bad", "good", "so-so"), task_name="sst-2")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def model():
    return tiny_model(CONFIG)


def inputs(seed=0):
    batch = tiny_batch(seed)
    return batch["input_ids"], batch["token_type_ids"]


def export(model, tokenizer, folder, width_mult=0.5, **changes):
    arguments = {
        "sub_model_dir": folder / "dynamic",
        "static_dir": folder / "static",
        "max_seq_length": 16,
        "parity_inputs": [inputs()],
        **changes,
    }
    subnet = subnet_at_width(model.config, width_mult)
    return export_width(model, width_mult, subnet, tokenizer, **arguments)


@pytest.mark.parametrize("width_mult", [1.0, 0.6, 0.25])
def test_dynamic_equals_static_equals_supernet(model, tokenizer, tmp_path, width_mult):
    result = export(model, tokenizer, tmp_path, width_mult)
    ids = inputs(5)
    tensors = [paddle.to_tensor(value) for value in ids]
    with paddle.no_grad():
        supernet = model(*tensors, subnet=result.subnet).logits.numpy()
        dynamic = load_model(result.sub_model_dir)(*tensors).logits.numpy()
    static = Predictor(result.static_dir).logits(*ids)
    np.testing.assert_allclose(dynamic, supernet, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(static, supernet, rtol=1e-5, atol=1e-5)
    assert result.parity.rows == 3
    assert result.parity.largest < 1e-5


def test_the_file_holds_as_many_numbers_as_count_params_says(model, tokenizer, tmp_path):
    from safetensors.numpy import load_file

    result = export(model, tokenizer, tmp_path, static_dir=None)
    arrays = load_file(result.sub_model_dir / "model.safetensors")
    assert sum(a.size for a in arrays.values()) == count_params(CONFIG, result.subnet)
    assert result.static_dir is None
    assert not (tmp_path / "static").exists()


def test_the_sub_model_is_whole_by_itself(model, tokenizer, tmp_path):
    result = export(model, tokenizer, tmp_path)
    reloaded = load_model(result.sub_model_dir).config
    assert reloaded.num_attention_heads == (2, 2)
    assert (reloaded.labels, reloaded.task_name) == (CONFIG.labels, "sst-2")
    assert reloaded.max_seq_length == 16
    again = load_tokenizer(result.sub_model_dir).encode(["w1s w2"], None, 16)
    np.testing.assert_array_equal(
        again.input_ids[0], tokenizer.encode(["w1s w2"], None, 16).input_ids[0]
    )
    # And it is exported once more like any model.
    second = export(load_model(result.sub_model_dir), tokenizer, tmp_path / "second")
    assert load_model(second.sub_model_dir).config.num_attention_heads == (1, 1)


def test_the_card_says_what_it_is(model, tokenizer, tmp_path):
    facts = CardFacts("out/sst2_ofa", {"accuracy": 0.8765}, 0.9, latency_ms=1.5, measured_at=128)
    result = export(model, tokenizer, tmp_path, facts=facts)
    card = (result.sub_model_dir / "README.md").read_text()
    for said in [
        "# BERT for sst-2, width 0.5",
        "| source | out/sst2_ofa |",
        "| labels | bad, good, so-so |",
        f"| sub-network | width 0.5: {describe(result.subnet)} |",
        "| accuracy | 87.65 |",
        "| teacher's score | 90.00 |",
        f"| parameters | {count_params(CONFIG, result.subnet):,} |",
        "| scores are of texts cut to | 128 tokens |",
        "| MACs at 16 tokens | ",
        "| latency, one text of 128 tokens | 1.50 ms |",  # as the run measured it
        f"paddle {paddle.__version__}",
        str(result.parity),
        "python -m ofa_bert predict --model",
    ]:
        assert said in card


def test_scores_of_a_sub_network_are_found_by_any_of_its_widths(tmp_path):
    subnet = subnet_at_width(CONFIG, 2 / 3)
    row = {"width_mult": 2 / 3, "metrics": {"mcc": 0.5}, "teacher_score": 0.75, "latency_ms": None}
    results = {"widths": [{**row, "subnet": dataclasses.asdict(subnet)}]}
    (tmp_path / "results.json").write_text(json.dumps(results))
    # 0.6667 of 4 heads and 29 neurons are 2.67 and 19.33: 3 and 19, as for 2/3.
    found = card_facts(tmp_path, subnet_at_width(CONFIG, 0.6667))
    assert found == CardFacts(tmp_path.name, {"mcc": 0.5}, teacher_score=0.75)
    assert card_facts(tmp_path, subnet_at_width(CONFIG, 0.5)) == CardFacts(tmp_path.name)


def test_the_code_in_the_card_runs(model, tokenizer, tmp_path):
    result = export(model, tokenizer, tmp_path, static_dir=None)
    card = (result.sub_model_dir / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(list(logits.shape))"],
        capture_output=True,
        text=True,
        cwd=result.sub_model_dir,
        env={**runtime.user_environment(), "PYTHONPATH": str(ROOT)},
    )
    assert (ran.returncode, ran.stdout) == (0, "[1, 3]\n"), ran.stderr
    assert "paddle was imported before" not in ran.stderr


def test_an_earlier_export_is_replaced_whole(model, tokenizer, tmp_path):
    first = export(model, tokenizer, tmp_path, 1.0)
    (first.sub_model_dir / "added_tokens.json").write_text("{}")  # of an older tokenizer
    result = export(model, tokenizer, tmp_path, 0.25)
    assert not (result.sub_model_dir / "added_tokens.json").exists()
    assert load_model(result.sub_model_dir).config.num_attention_heads == (1, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dynamic", "static"]


def test_a_failing_parity_check_leaves_the_earlier_export(model, tokenizer, tmp_path, monkeypatch):
    export(model, tokenizer, tmp_path)
    before = contents(tmp_path)

    def wrong_extract(model, subnet):
        return tiny_model(CONFIG, seed=9)

    monkeypatch.setattr(export_module, "extract", wrong_extract)
    with pytest.raises(ParityError, match="nothing was written"):
        export(model, tokenizer, tmp_path)
    assert contents(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dynamic", "static"]


def test_what_is_compared_is_what_is_on_the_disk(model, tokenizer, tmp_path, monkeypatch):
    def wrong_save(sub_model, directory, tokenizer):
        save_model(tiny_model(sub_model.config, seed=9), directory, tokenizer)

    monkeypatch.setattr(export_module, "save_model", wrong_save)
    with pytest.raises(ParityError, match="the export must compute what the supernet computes"):
        export(model, tokenizer, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_nothing_where_nothing_was(model, tokenizer, tmp_path, monkeypatch):
    def failing_write(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(export_module, "write_static", failing_write)
    with pytest.raises(OSError, match="disk full"):
        export(model, tokenizer, tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["notes.txt", "config.json", "README.md", "supernet.json"])
@pytest.mark.parametrize("folder", ["dynamic", "static"])
def test_a_directory_of_something_else_is_refused(model, tokenizer, tmp_path, folder, name):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / name).write_text("mine")
    with pytest.raises(InputError, match=f"must be new, empty or an earlier .*holds {name}; name"):
        export(model, tokenizer, tmp_path)
    assert contents(tmp_path) == {f"{folder}/{name}": b"mine"}


def test_an_export_with_a_foreign_file_is_refused(model, tokenizer, tmp_path):
    export(model, tokenizer, tmp_path)
    (tmp_path / "dynamic" / "results.json").write_text("{}")
    with pytest.raises(InputError, match=r"which holds results.json; name another directory"):
        export(model, tokenizer, tmp_path)


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="static graph directory must be a directory; got the fil"):
        check_replaceable(tmp_path / "x", STATIC)


def test_a_parent_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "x").write_text("")
    with (
        pytest.raises(InputError, match=r"sub-model .*/x/y cannot be written: "),
        staged(tmp_path / "x" / "y", SUB_MODEL),
    ):
        raise AssertionError("not reached")


@pytest.mark.parametrize(("first", "second"), [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_one_directory_within_the_other_is_refused(model, tokenizer, tmp_path, first, second):
    with pytest.raises(InputError, match="must be two directories, neither within the other; got"):
        export(
            model,
            tokenizer,
            tmp_path,
            sub_model_dir=tmp_path / first,
            static_dir=tmp_path / second,
        )


def test_a_max_seq_length_beyond_the_positions_is_refused(model, tokenizer, tmp_path):
    with pytest.raises(
        InputError, match=r"max_seq_length must be 3 to 160, .*; got 161; type --max"
    ):
        export(model, tokenizer, tmp_path, max_seq_length=161)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("static", [False, True])
def test_a_tokenizer_with_another_padding_id_is_refused(tokenizer, tmp_path, static):
    model = tiny_model(tiny_config(pad_token_id=3))
    static_dir = tmp_path / "static" if static else None
    message = r"pad_token_id must be 0, the tokenizer's \[PAD\]; got 3 .* config.json to 0"
    with pytest.raises(InputError, match=message):
        export(model, tokenizer, tmp_path, static_dir=static_dir)
    with pytest.raises(InputError, match=message):
        export_static(model, tmp_path / "static", tokenizer=tokenizer, max_seq_length=16)
    assert list(tmp_path.iterdir()) == []


def test_measured_sizes_and_times_of_every_width(model, tokenizer):
    subnets = resolve_widths(CONFIG, [1.0, 0.5])
    measured = measure_sub_models(model, subnets, tokenizer, 16, runs=2)
    assert list(measured) == [1.0, 0.5]
    for width_mult, subnet in subnets.items():
        file_bytes, latency_ms = measured[width_mult]
        assert file_bytes > 4 * count_params(CONFIG, subnet)
        assert latency_ms > 0
    saved = measured[1.0][0] - measured[0.5][0]
    lost = 4 * (count_params(CONFIG, subnets[1.0]) - count_params(CONFIG, subnets[0.5]))
    # The programs differ by a few digits of the sizes written in them.
    assert saved == pytest.approx(lost, abs=200)


def test_random_batches_hold_rows_of_all_lengths_and_end_in_padding():
    config = tiny_config(pad_token_id=3)
    batches = random_batches(config, 10, 20, batch_size=4)
    # 20 down to 1 in 9 steps of 2.1: 20, 17.9, 15.8, 13.7, ...
    lengths = [(input_ids != 3).sum(1).tolist() for input_ids, _ in batches]
    assert lengths == [[20, 18, 16, 14], [12, 9, 7, 5], [3, 1]]
    assert [input_ids.shape for input_ids, _ in batches] == [(4, 20), (4, 12), (2, 3)]
    for input_ids, token_type_ids in batches:
        is_padding = input_ids == 3
        assert (is_padding == np.sort(is_padding, axis=1)).all()  # False before True
        assert input_ids.min() >= 0
        assert input_ids.max() < config.vocab_size
        assert token_type_ids.shape == input_ids.shape
