from __future__ import annotations

import json

import numpy as np
import pytest

from ofa_bert import executor as executor_module
from ofa_bert import runtime
from ofa_bert.errors import InputError
from ofa_bert.executor import Way, default_threads, fastest_way
from ofa_bert.export.latency import measure_latencies, measure_latency_ms
from ofa_bert.export.static import export_static
from ofa_bert.predictor import Predictor, batches_by_length
from tests.tiny import tiny_batch, tiny_config, tiny_model, tiny_tokenizer

import paddle  # isort: skip

LABELS = ("bad", "good", "so-so")
# Seven rows of seven lengths, not in order, one of them empty.
TEXTS = ["w1 w2 w3 w4", "w5", "", "w6 w7 w8 w9 w10 w11 w12 w13", "w14 w15", "w1s " * 30, "w3 w3 w3"]


def export(directory, model, tokenizer, max_seq_length=20):
    return export_static(model, directory, tokenizer=tokenizer, max_seq_length=max_seq_length)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def model():
    return tiny_model(tiny_config(labels=LABELS))


@pytest.fixture(scope="module")
def directory(model, tokenizer, tmp_path_factory):
    return export(tmp_path_factory.mktemp("static") / "graph", model, tokenizer)


@pytest.fixture(scope="module")
def predictor(directory):
    return Predictor(directory)


def one_by_one(model, tokenizer, texts, pairs=None):
    """Logits of each text alone, without padding, from the dynamic model."""
    rows = []
    for i, text in enumerate(texts):
        encoded = tokenizer.encode([text], None if pairs is None else [pairs[i]], 20)
        ids = paddle.to_tensor([list(encoded.input_ids[0])], dtype="int64")
        types = paddle.to_tensor([list(encoded.token_type_ids[0])], dtype="int64")
        with paddle.no_grad():
            rows.append(model(ids, types).logits.numpy()[0])
    return np.stack(rows)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_answers_come_in_the_order_of_the_texts(predictor, model, tokenizer, batch_size):
    predictions = predictor.predict(TEXTS, batch_size=batch_size)
    expected = one_by_one(model, tokenizer, TEXTS)
    found = np.array([prediction.logits for prediction in predictions])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert [p.label for p in predictions] == [LABELS[i] for i in expected.argmax(-1)]


def test_pairs_are_read_together(predictor, model, tokenizer):
    pairs = list(reversed(TEXTS))
    found = [prediction.logits for prediction in predictor.predict(TEXTS, pairs, batch_size=2)]
    expected = one_by_one(model, tokenizer, TEXTS, pairs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_score_is_the_probability_of_the_label(predictor):
    (prediction,) = predictor.predict(["w1 w2"])
    exponentials = np.exp(np.array(prediction.logits, "float64"))
    assert prediction.score == pytest.approx(exponentials.max() / exponentials.sum())


def test_regression_gives_the_number(tokenizer, tmp_path):
    model = tiny_model(tiny_config(num_classes=1))
    (prediction,) = Predictor(export(tmp_path / "s", model, tokenizer)).predict(["w1"])
    assert prediction.label is None
    assert prediction.score == pytest.approx(
        one_by_one(model, tokenizer, ["w1"]).item(), rel=1e-5, abs=1e-5
    )
    assert prediction.logits == (prediction.score,)


def test_classes_without_names_are_numbers(tokenizer, tmp_path):
    model = tiny_model()
    (prediction,) = Predictor(export(tmp_path / "s", model, tokenizer)).predict(["w1"])
    assert prediction.label == str(one_by_one(model, tokenizer, ["w1"]).argmax())


def test_no_texts_give_no_answers(predictor):
    assert predictor.predict([]) == []


def test_batches_by_length_by_hand():
    assert list(batches_by_length([3, 9, 1, 9, 4], 2)) == [[1, 3], [4, 0], [2]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": ["w1"], "batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"texts": ["a", "b"], "text_pairs": ["c"]}, "text_pairs must have .*; got 1 for 2"),
        ({"texts": "w1 w2"}, r"texts must be a list of texts; got one text; pass \[text\]"),
        ({"texts": ["a"], "text_pairs": "b"}, "text_pairs must be a list of texts; got one text"),
    ],
)
def test_predict_checks_its_arguments(predictor, arguments, message):
    with pytest.raises(InputError, match=message):
        predictor.predict(**arguments)


def test_a_model_labels_rows_of_as_many_texts_as_it_learned(tokenizer, tmp_path):
    pairs, singles = (
        Predictor(export(tmp_path / str(n), tiny_model(tiny_config(num_texts=n)), tokenizer))
        for n in (2, 1)
    )
    assert len(pairs.predict(["w1"], ["w2"])) == len(singles.predict(["w1"])) == 1
    with pytest.raises(InputError, match=r"labels pairs of texts; got single texts; pass text_pai"):
        pairs.predict(["w1"])
    with pytest.raises(InputError, match=r"labels single texts; got pairs of texts; leave text_pa"):
        singles.predict(["w1"], ["w2"])


@pytest.mark.parametrize(
    ("input_ids", "token_type_ids", "message"),
    [
        ([[1, 60]], [[0, 0]], "input_ids must be 0 to 59; got 1 to 60"),
        ([[1, 2]], [[0, 2]], "token_type_ids must be 0 to 1; got 0 to 2"),
        ([[1] * 161], [[0] * 161], "input_ids must be at most 160 tokens long, .* got 161"),
        ([[1, 2]], [[0]], r"must have the same shape .*; got \[1, 2\] and \[1, 1\]"),
        ([[]], [[]], r"not empty; got \[1, 0\]"),
    ],
)
def test_logits_checks_its_ids(predictor, input_ids, token_type_ids, message):
    with pytest.raises(InputError, match=message):
        predictor.logits(np.array(input_ids, "int64"), np.array(token_type_ids, "int64"))


def test_a_directory_without_deploy_json_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match=r"must hold deploy.json; got .*export_model.py --static"):
        Predictor(tmp_path)


def broken_copy(directory, tmp_path, name, content):
    for path in directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.json", None, r"model.json must be a file of \d+ bytes; got no file; write the"),
        ("model.pdiparams", b"half", r"model.pdiparams must be a file of \d+ bytes; got 4 bytes"),
        ("deploy.json", b"{", "deploy.json is not valid JSON"),
        ("deploy.json", b"{}", "deploy.json must say labels"),
    ],
)
def test_a_broken_file_is_named(directory, tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        Predictor(broken_copy(directory, tmp_path, name, content))


def test_a_graph_of_the_right_size_but_broken_is_named(directory, tmp_path):
    size = (directory / "model.json").stat().st_size
    with pytest.raises(InputError, match=r"static graph .*model.json is not valid JSON"):
        Predictor(broken_copy(directory, tmp_path, "model.json", b"x" * size))
    program = b'{"program": {"regions": []}}'.ljust(size)
    with pytest.raises(InputError, match=r"model.json cannot be loaded by Paddle Inference: "):
        Predictor(broken_copy(directory, tmp_path, "model.json", program))


def test_deploy_json_without_sizes_is_named(directory, tmp_path):
    said = json.loads((directory / "deploy.json").read_text())
    content = json.dumps({**said, "file_bytes": {}}).encode()
    with pytest.raises(
        InputError, match=r"deploy.json is not as an export writes it: .*model.json"
    ):
        Predictor(broken_copy(directory, tmp_path, "deploy.json", content))


def test_an_unknown_precision_is_named(directory):
    with pytest.raises(InputError, match="precision 'bf16x' is unknown; did you mean 'bf16'"):
        Predictor(directory, precision="bf16x")


def test_bf16_is_near_or_refused(directory, predictor):
    if not paddle.base.core.supports_bfloat16():
        with pytest.raises(InputError, match="got 'bf16', which needs AVX-512; use precision"):
            Predictor(directory, precision="bf16")
        return
    batch = tiny_batch()
    ids = batch["input_ids"], batch["token_type_ids"]
    low, full = Predictor(directory, precision="bf16").logits(*ids), predictor.logits(*ids)
    # bf16 keeps 8 bits: steps of 2 ** -8 of numbers near 1, over two layers. In fp32 the answers
    # would differ by some 1e-6.
    np.testing.assert_allclose(low, full, rtol=0, atol=0.05)
    assert np.abs(low - full).max() > 1e-4


def test_threads_come_from_the_environment_or_the_cores(monkeypatch):
    monkeypatch.setattr(executor_module, "usable_cores", lambda: 5)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert default_threads() == 3
    monkeypatch.delenv("MKL_NUM_THREADS")
    assert default_threads() == 5


MKL, KEPT, FREED = Way(False, True), Way(True, True), Way(True, False)


@pytest.mark.parametrize(
    ("num_ids", "num_threads", "precision", "mkl_is_fast", "way"),
    [
        (64, 1, "fp32", True, MKL),
        (64, 1, "fp32", False, KEPT),
        (64, 1, "bf16", True, KEPT),
        (65, 1, "fp32", True, KEPT),
        (32, 2, "fp32", True, MKL),
        (33, 2, "fp32", True, KEPT),
        (128, 1, "fp32", True, KEPT),
        (128, 2, "fp32", True, KEPT),
        (129, 1, "fp32", True, FREED),
    ],
)
def test_small_batches_are_run_another_way(
    monkeypatch, num_ids, num_threads, precision, mkl_is_fast, way
):
    monkeypatch.setattr(executor_module, "mkl_is_fast", lambda: mkl_is_fast)
    assert fastest_way(num_ids, precision, num_threads) == way


def test_mkl_is_fast_where_it_was_told_its_kernels_or_chooses_well(monkeypatch):
    amd = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2 fma\n"
    monkeypatch.setattr(runtime, "cpuinfo", lambda: amd)
    monkeypatch.setenv("MKL_DEBUG_CPU_TYPE", "5")
    assert runtime.mkl_is_fast()
    monkeypatch.delenv("MKL_DEBUG_CPU_TYPE")
    assert not runtime.mkl_is_fast()
    monkeypatch.setattr(runtime, "cpuinfo", lambda: amd.replace("AuthenticAMD", "Other"))
    assert runtime.mkl_is_fast()


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new", "relu", "tanh"])
def test_all_ways_give_the_same_answers(hidden_act, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(executor_module, "mkl_is_fast", lambda: True)
    model = tiny_model(tiny_config(hidden_act=hidden_act))
    predictor = Predictor(export(tmp_path / "s", model, tokenizer))
    flag = paddle.get_flags(executor_module.FREE_BUFFERS_FLAG)
    batch = tiny_batch(batch=20, seq_len=9)
    ids = (paddle.to_tensor(batch[name]) for name in ("input_ids", "token_type_ids"))
    with paddle.no_grad():
        expected = model(*ids).logits.numpy()
    found = predictor.logits(batch["input_ids"], batch["token_type_ids"])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    for _ in range(2):
        for rows in (1, 10):
            ids = (batch[name][:rows] for name in ("input_ids", "token_type_ids"))
            found = predictor.logits(*ids)
            np.testing.assert_allclose(found, expected[:rows], rtol=1e-5, atol=1e-5)
    assert list(predictor._executors) == [FREED, MKL, KEPT]
    assert paddle.get_flags(executor_module.FREE_BUFFERS_FLAG) == flag


def test_one_way_does_for_all_batches_of_a_call(directory):
    predictor = Predictor(directory)
    predictor.predict(["w1 w2 w3"] * 33)
    assert list(predictor._executors) == [FREED]


class FakePredictor:
    """Stands still for ``wait_ms`` of a clock that only it moves."""

    def __init__(self, predictor, clock, waits_ms, name, calls):
        self.info, self.clock, self.name, self.calls = predictor.info, clock, name, calls
        self.waits_ms = iter(waits_ms)

    def logits(self, input_ids, token_type_ids):
        assert (input_ids != self.info.pad_token_id).all()
        assert input_ids.shape == token_type_ids.shape == (2, 6)
        self.clock[0] += next(self.waits_ms) / 1e3
        self.calls.append(self.name)


def test_latencies_are_medians_of_turns_after_the_warm_up(predictor, monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr("ofa_bert.export.latency.time.perf_counter", lambda: clock[0])
    fakes = {
        1.0: FakePredictor(predictor, clock, [99, 4, 6, 50], "a", calls),
        0.5: FakePredictor(predictor, clock, [99, 1, 3, 2], "b", calls),
    }
    found = measure_latencies(fakes, seq_len=6, batch_size=2, runs=3, warmup=1)
    assert found == {1.0: pytest.approx(6), 0.5: pytest.approx(2)}
    assert "".join(calls) == "abababab"


def test_a_real_latency_is_positive(predictor):
    assert measure_latency_ms(predictor, 16, runs=2, warmup=1) > 0
