import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest

from ofa_bert import __version__
from ofa_bert.config import ObjectiveConfig, TrainConfig
from ofa_bert.data.batches import training_steps
from ofa_bert.distill import recorded
from ofa_bert.distill.objective import DistillObjective
from ofa_bert.distill.recorded import RecordedTeacher, make_teacher
from ofa_bert.distill.student import width_student
from ofa_bert.distill.teacher import ModelTeacher
from ofa_bert.errors import InputError
from ofa_bert.subnet import resolve_widths
from ofa_bert.training import Parts, train
from tests.oracles import bert_of
from tests.tiny import randomise, tiny_config, tiny_dataset, tiny_model


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("OFA_BERT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def with_padding_in_a_text(dataset):
    """Put the padding id into two rows: a text may hold a literal ``[PAD]``."""
    input_ids = dataset.input_ids.copy()
    input_ids[dataset.offsets[[2, 3]] + 1] = dataset.pad_token_id
    return replace(dataset, input_ids=input_ids)


def batches_of(dataset):
    steps = training_steps(dataset, batch_size=4, seed=3, epoch=1)
    return [batch for batches in steps for batch in batches]


@pytest.mark.parametrize("cache", ["none", "memory", "disk"])
@pytest.mark.parametrize("dataset", [tiny_dataset(11), with_padding_in_a_text(tiny_dataset(11))])
def test_answers_to_every_row_equal_numpy(cache, dataset):
    model = tiny_model()
    teacher = make_teacher(model, dataset, cache)
    for batch in batches_of(dataset):
        answer = teacher(batch)
        arrays = {
            name: getattr(batch, name).numpy()
            for name in ("input_ids", "token_type_ids", "attention_mask")
        }
        logits, states = bert_of(model, arrays)
        np.testing.assert_allclose(answer.logits.numpy(), logits, rtol=1e-5, atol=1e-5)
        for ours, row_states in zip(answer.hidden_states, states, strict=True):
            for found, mask, expected in zip(
                ours.numpy(), arrays["attention_mask"] == 1, row_states, strict=True
            ):
                kept = expected[mask[: len(expected)]]
                np.testing.assert_allclose(found[mask], kept, rtol=1e-5, atol=1e-5)
        assert answer.logits.stop_gradient


def test_nothing_is_asked_after_the_recording(monkeypatch):
    model, dataset = tiny_model(), tiny_dataset(9)
    teacher = make_teacher(model, dataset, "memory")
    monkeypatch.setattr(ModelTeacher, "__call__", None)
    assert [teacher(batch).logits.shape[0] for batch in batches_of(dataset)] == [4, 4, 1]


def test_logits_alone_hold_no_hidden_states():
    model, dataset = tiny_model(), tiny_dataset(6)
    (batch, _) = batches_of(dataset)
    answer = make_teacher(model, dataset, "logits")(batch)
    expected = ModelTeacher(model)(batch)
    np.testing.assert_allclose(answer.logits.numpy(), expected.logits.numpy(), rtol=1e-5, atol=1e-6)
    assert answer.hidden_states == ()
    with pytest.raises(InputError, match=r"teacher_cache logits .* lambda_rep 0\.1"):
        ObjectiveConfig(teacher_cache="logits")


@pytest.mark.parametrize("settings", [{}, {"lambda_rep": 0.0, "teacher_cache": "logits"}])
@pytest.mark.parametrize("dataset", [tiny_dataset(12), with_padding_in_a_text(tiny_dataset(12))])
def test_a_run_with_recorded_answers_trains_what_a_run_without_trains(settings, dataset):
    config = ObjectiveConfig(**settings)
    trained = []
    for cache in ("none", "memory" if config.lambda_rep else "logits"):
        model, student = tiny_model(), tiny_model()
        randomise(student, seed=5)
        parts = Parts(
            width_student(student, resolve_widths(model.config, (1.0, 0.5))),
            make_teacher(model, dataset, cache),
            DistillObjective(config, regression=False),
        )
        training = TrainConfig(batch_size=4, max_steps=4, learning_rate=1e-3)
        train(parts, dataset, training, evaluate=lambda: {"full": {"score": 0.5}})
        trained.append(student.state_dict())
    for name, value in trained[0].items():
        if name.endswith("k_proj.bias"):
            continue  # Softmax does not see it: its gradient is rounding noise.
        np.testing.assert_allclose(value.numpy(), trained[1][name].numpy(), rtol=1e-4, atol=1e-5)


def test_the_disk_keeps_answers_for_the_same_weights_and_rows_only(monkeypatch, cache_folder):
    counted = []
    record = recorded.record
    monkeypatch.setattr(
        recorded, "record", lambda *args, **kwargs: counted.append(1) or record(*args, **kwargs)
    )
    model, dataset = tiny_model(), tiny_dataset(7)
    first = make_teacher(model, dataset, "disk")
    again = make_teacher(model, dataset, "disk")
    assert len(counted) == 1
    for batch in batches_of(dataset):
        np.testing.assert_array_equal(first(batch).logits.numpy(), again(batch).logits.numpy())
    make_teacher(model, tiny_dataset(8), "disk")
    other = tiny_model()
    with paddle.no_grad():
        other.classifier.bias.add_(paddle.to_tensor([1e-3, 0.0, 0.0][: other.config.num_classes]))
    make_teacher(other, dataset, "disk")
    assert len(counted) == 3
    for path in cache_folder.iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    make_teacher(model, dataset, "disk")
    assert len(counted) == 4


def key_of(**changes):
    return list(recorded._key(tiny_model(), replace(tiny_dataset(4), **changes)))


def test_answers_of_another_device_have_another_key(monkeypatch):
    here = key_of()
    monkeypatch.setattr(paddle.device, "get_device", lambda: "gpu:1")
    first = key_of()
    monkeypatch.setattr(paddle.device, "get_device", lambda: "gpu:0")
    assert here != first == key_of()


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (recorded, "FORMAT_VERSION", "0"),
        (recorded, "RECORDING_BATCH_SIZE", 32),
        (recorded, "versions", lambda: {"ofa_bert": "0.0.9", "paddle": paddle.__version__}),
        (recorded, "versions", lambda: {"ofa_bert": __version__, "paddle": "3.0.0"}),
        (recorded.runtime, "processor_name", lambda: "another processor"),
        (recorded.runtime, "describe", lambda: "threads 7, MKL kernels 5"),
    ],
)
def test_answers_that_other_machines_or_versions_would_give_have_another_key(
    monkeypatch, place, name, value
):
    here = key_of()
    assert key_of() == here
    monkeypatch.setattr(place, name, value)
    assert key_of() != here


@pytest.mark.parametrize("name", ["input_ids", "token_type_ids", "offsets", "pad_token_id"])
def test_answers_to_other_rows_have_another_key(name):
    rows = tiny_dataset(4)
    other = np.array(getattr(rows, name))
    other.flat[-1] += 1
    assert key_of(**{name: other}) != key_of()
    # Labels are no part of a question.
    assert key_of(labels=rows.labels[::-1].copy()) == key_of()


def test_a_full_disk_is_a_warning(monkeypatch, caplog):
    monkeypatch.setenv("OFA_BERT_CACHE", "/dev/full/cache")
    dataset = tiny_dataset(5)
    teacher = make_teacher(tiny_model(), dataset, "disk")
    assert isinstance(teacher, RecordedTeacher)
    assert "nothing is kept for the next run" in caplog.text


def test_a_lack_of_memory_says_how_large_a_batch_was_and_what_helps(monkeypatch):
    def too_large(*args):
        raise MemoryError

    monkeypatch.setattr(ModelTeacher, "__call__", too_large)
    dataset = tiny_dataset(5)
    longest = max(len(dataset.row(index)[0]) for index in range(5))
    expected = rf"a batch of 5 rows of up to {longest} tokens does not fit; pass --teacher_cache"
    with pytest.raises(InputError, match=expected):
        make_teacher(tiny_model(), dataset, "memory")


def test_answers_that_do_not_fit_into_memory_are_refused(monkeypatch):
    dataset, config = tiny_dataset(40), tiny_config()
    needed = 4 * (config.num_layers + 1) * len(dataset.input_ids) * config.hidden_size
    model = tiny_model(config)
    monkeypatch.delenv("PADDLE_LOCAL_SIZE", raising=False)
    # Four fifths of it are a byte or so more than needed.
    monkeypatch.setattr(recorded.runtime, "available_bytes", lambda: needed * 5 // 4 + 2)
    make_teacher(model, dataset, "memory")
    # Each process holds the answers to all rows.
    monkeypatch.setenv("PADDLE_LOCAL_SIZE", "2")
    expected = (
        r"teacher_cache needs 0\.0 GB in each of 2 processes for the hidden states of 40 rows; "
        r"at most 80% of the 0\.0 GB that this machine can give may be taken; pass --teacher_cache"
    )
    with pytest.raises(InputError, match=expected):
        make_teacher(model, dataset, "memory")
    monkeypatch.delenv("PADDLE_LOCAL_SIZE")
    monkeypatch.setattr(recorded.runtime, "available_bytes", lambda: needed * 5 // 4 - 2)
    with pytest.raises(
        InputError, match=r"needs 0\.0 GB for the hidden states of 40 rows; at most"
    ):
        make_teacher(model, dataset, "memory")


def test_memory_in_the_page_cache_is_not_lost(monkeypatch):
    pages = {"SC_AVPHYS_PAGES": 2, "SC_PHYS_PAGES": 2**20, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", pages.get)
    told = "MemTotal: 4194304 kB\nMemFree: 8 kB\nMemAvailable:    2097152 kB\nCached: 2097144 kB\n"
    monkeypatch.setattr(Path, "read_text", lambda path: told)
    assert recorded.runtime.available_bytes() == 2 << 30
    assert isinstance(make_teacher(tiny_model(), tiny_dataset(40), "memory"), RecordedTeacher)


def test_memory_that_is_not_told_is_the_whole(monkeypatch):
    def missing(path):
        raise FileNotFoundError

    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 3, "SC_PAGE_SIZE": 4096}.get)
    for read_text in (missing, lambda path: "MemTotal: 12 kB\nMemFree: 8 kB\n"):
        monkeypatch.setattr(Path, "read_text", read_text)
        assert recorded.runtime.available_bytes() == 3 * 4096
