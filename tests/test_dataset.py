import builtins
import logging
import sys
import types

import pytest

from ofa_bert.config import DataConfig
from ofa_bert.data import hub
from ofa_bert.data.dataset import check_labels, load_task
from ofa_bert.data.readers import Example
from ofa_bert.data.tasks import find_task
from ofa_bert.errors import InputError
from tests.shared_data import shared


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


@pytest.fixture
def mnli(tmp_path):
    header = "index\tsentence1\tsentence2\tgold_label"
    write(tmp_path / "train.tsv", header, "0\ta\tb\tneutral", "1\tc\td\tentailment")
    write(tmp_path / "dev_matched.tsv", header, "0\te\tf\tcontradiction")
    write(tmp_path / "dev_mismatched.tsv", header, "0\tg\th\tneutral")
    return str(tmp_path)


@pytest.fixture
def own(tmp_path):
    """Give a function that writes own files with the labels given and returns their config."""

    def make(train, dev, **changes):
        header = "text\tlabel"
        values = {
            "train_file": write(
                tmp_path / "train.tsv", header, *(f"t{i}\t{x}" for i, x in enumerate(train))
            ),
            "dev_file": write(
                tmp_path / "dev.tsv", header, *(f"d{i}\t{x}" for i, x in enumerate(dev))
            ),
            "text_columns": ("text",),
            "label_column": "label",
        }
        return DataConfig(**{**values, **changes})

    return make


def test_mnli_has_two_development_sets_and_its_own_labels(mnli):
    data = load_task(DataConfig(task_name="mnli", data_dir=mnli))
    assert data.name == "MNLI"
    assert data.labels == ("contradiction", "entailment", "neutral")
    assert [example.label for example in data.train] == ["neutral", "entailment"]
    assert data.dev == {
        "matched": [Example("e", "f", "contradiction")],
        "mismatched": [Example("g", "h", "neutral")],
    }
    assert (data.regression, data.metrics) == (False, ("accuracy",))


def test_training_rows_are_read_only_when_needed(mnli, tmp_path):
    (tmp_path / "train.tsv").unlink()
    config = DataConfig(task_name="mnli", data_dir=mnli)
    assert load_task(config, need_train=False).train == []
    with pytest.raises(InputError, match=r"data file must exist; got .*train.tsv"):
        load_task(config)


def test_sts_b_is_a_regression(tmp_path):
    for name in ("train.tsv", "dev.tsv"):
        write(tmp_path / name, "sentence1\tsentence2\tscore", "a\tb\t5")
    data = load_task(DataConfig(task_name="STS-B", data_dir=str(tmp_path)))
    assert (data.labels, data.regression) == ((), True)
    assert data.train == [Example("a", "b", 5.0)]


def test_own_labels_are_those_of_the_training_file(own):
    data = load_task(own(["neg", "pos", "neg"], ["pos"]))
    assert data.labels == ("neg", "pos")
    assert (data.name, data.metrics, data.regression) == ("custom", ("accuracy",), False)
    assert data.train[1] == Example("t1", None, "pos")
    assert data.dev == {"dev": [Example("d0", None, "pos")]}


def test_own_numbers_that_are_not_all_whole_make_a_regression(own):
    data = load_task(own(["1", "2.5"], ["3"]))
    assert (data.labels, data.regression) == ((), True)
    assert data.metrics == ("pearson", "spearman")
    assert [e.label for e in data.train] == [1.0, 2.5]
    assert data.dev["dev"][0].label == 3.0


def test_one_word_among_numbers_is_a_bad_row_of_a_regression(own):
    numbers = [str(0.25 * (i % 12)) for i in range(24)]
    with pytest.raises(InputError, match=r"line 26: label must be a finite number; got 'N/A'"):
        load_task(own([*numbers, "N/A"], ["1"]))
    data = load_task(own([*numbers, "N/A"], ["1"], skip_bad_rows=True))
    assert (data.labels, len(data.train)) == ((), 24)


def test_a_trained_model_says_what_the_development_rows_are(own):
    config = own([], ["2", "1", "2"], train_file=None)
    known = load_task(config, need_train=False, known_labels=("2", "1", "0"))
    assert known.labels == ("2", "1", "0")
    assert load_task(config, need_train=False).labels == ("1", "2")
    numbers = load_task(config, need_train=False, regression=True)
    assert [e.label for e in numbers.dev["dev"]] == [2.0, 1.0, 2.0]
    with pytest.raises(InputError, match=r"dev.tsv, line 2: label must be one of 0, 1; got '2'"):
        load_task(config, need_train=False, known_labels=("0", "1"))


def test_a_label_that_training_rows_lack_is_an_error(own):
    with pytest.raises(InputError, match=r"dev.tsv, line 3: label must be one of a, b; got 'c'"):
        load_task(own(["a", "b"], ["a", "c"]))
    # The same number written in another way is another label.
    with pytest.raises(InputError, match=r"dev.tsv, line 3: label must be one of 0, 1; got '1.0'"):
        load_task(own(["0", "1"], ["0", "1.0"]))


def test_one_label_is_not_enough(own):
    with pytest.raises(InputError, match=r"train.tsv must hold at least two labels; got 'a' alone"):
        load_task(own(["a", "a"], ["a"]))


def test_the_first_training_rows(own):
    data = load_task(own(["a", "b", "a"], ["a", "b", "a"], max_train_examples=2))
    assert [e.text for e in data.train] == ["t0", "t1"]
    assert len(data.dev["dev"]) == 3


def test_bad_rows_are_skipped_when_asked(own, caplog):
    with caplog.at_level(logging.WARNING):
        data = load_task(own(["a", "b", ""], ["a", "c"], skip_bad_rows=True))
    assert (len(data.train), len(data.dev["dev"])) == (2, 1)
    assert caplog.text.count("1 malformed rows left out") == 2


def test_a_glue_task_in_own_files_keeps_its_columns_and_labels(tmp_path):
    path = write(tmp_path / "mine.tsv", "sentence\tlabel", "good\t1")
    data = load_task(DataConfig(task_name="sst2", train_file=path, dev_file=path))
    assert (data.name, data.labels) == ("SST-2", ("0", "1"))
    assert data.dev == {"dev": [Example("good", None, "1")]}


def test_the_folder_of_all_tasks_is_answered_with_that_of_the_task(tmp_path):
    (tmp_path / "SST-2").mkdir()
    config = DataConfig(task_name="sst2", data_dir=str(tmp_path))
    with pytest.raises(InputError, match=r"must hold train.tsv of SST-2; .*--data_dir .*/SST-2\?$"):
        load_task(config)
    with pytest.raises(InputError, match=r"must hold dev.tsv of SST-2; .*--data_dir .*/SST-2\?$"):
        load_task(config, need_train=False)


def test_a_column_that_a_task_lacks_is_not_for_the_user_to_name(tmp_path):
    for name in ("train.tsv", "dev.tsv"):
        write(tmp_path / name, "text\tlabel", "good\t1")
    glue = DataConfig(task_name="SST-2", data_dir=str(tmp_path))
    expected = "'sentence', as the original files of SST-2 have; .*check --task_name and --data_dir"
    with pytest.raises(InputError, match=expected) as caught:
        load_task(glue)
    assert "--text_columns" not in str(caught.value)
    mine = DataConfig("SST-2", train_file=str(tmp_path / "train.tsv"), dev_file="dev.tsv")
    with pytest.raises(
        InputError, match=r"a column 'sentence'; .*name columns with --text_columns"
    ):
        load_task(mine)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task_name": "SST3"}, "task_name must be a GLUE task; got 'SST3'; did you mean 'SST-2'"),
        ({"task_name": "own"}, "; or say what to read: --task_name with --data_dir, or --dev_file"),
        ({}, "^rows must be named; got none; say what to read: --task_name with --data_dir, or"),
        ({"data_dir": "x"}, "^rows must be named; got none; say what to read: --task_name with"),
        (
            {"task_name": "RTE", "data_dir": "no/such"},
            "data_dir must be a directory; got 'no/such'",
        ),
        ({"train_file": "a.tsv"}, "text_columns must name one or two columns"),
        (
            {"train_file": "a.tsv", "text_columns": ("text",)},
            "label_column must name the label's column; got none",
        ),
        (
            {"train_file": "a.tsv", "text_columns": ("0",), "label_column": "1"},
            "dev_file must be given with your own files; got none; type --dev_file",
        ),
        (
            {"dev_file": "a.tsv", "text_columns": ("0",), "label_column": "1"},
            "train_file must be given with your own files; got none; type --train_file",
        ),
        (
            {"task_name": "RTE", "data_dir": "d", "dev_file": "a.tsv"},
            "data_dir must not be given together with train_file or dev_file",
        ),
        (
            {"data_dir": "d", "dev_file": "a.tsv", "text_columns": ("0",), "label_column": "1"},
            "data_dir must not be given together with train_file or dev_file",
        ),
    ],
)
def test_data_settings_that_do_not_fit(changes, message):
    with pytest.raises(InputError, match=message):
        load_task(DataConfig(**changes))


def test_the_models_label_order_wins():
    assert check_labels(("b", "a"), 2, ("a", "b")) == ("b", "a")
    assert check_labels((), 2, ("a", "b")) == ("a", "b")
    assert check_labels((), 1, ()) == ()


def test_names_of_the_hub_stand_for_the_datas_labels():
    names = ("negative", "positive")
    assert check_labels(("negative", "positive"), 2, ("0", "1"), names) == ("0", "1")
    assert check_labels(("POSITIVE", "NEGATIVE"), 2, ("0", "1"), names) == ("1", "0")
    assert check_labels(("1", "0"), 2, ("0", "1"), names) == ("1", "0")
    mnli = ("contradiction", "entailment", "neutral")
    found = check_labels(("ENTAILMENT", "NEUTRAL", "CONTRADICTION"), 3, mnli, mnli)
    assert found == ("entailment", "neutral", "contradiction")
    # Own labels that differ in case are different ones.
    with pytest.raises(InputError, match="write the data's names, in the model's order, into its"):
        check_labels(("A", "B"), 2, ("a", "b"))
    with pytest.raises(InputError, match=r"\['0', 'negative'\] for the model"):
        check_labels(("0", "negative"), 2, ("0", "1"), names)


@pytest.mark.parametrize(
    ("model", "num_classes", "data", "message"),
    [
        (
            ("a", "b"),
            2,
            ("a", "c"),
            r"got \['a', 'b'\] for the model and \['a', 'c'\] for the data",
        ),
        ((), 3, ("a", "b"), r"got 3 unnamed classes for the model and \['a', 'b'\]"),
        ((), 1, ("a", "b"), r"got one number \(regression\) for the model and \['a', 'b'\]"),
        (("a", "b"), 2, (), r"\['a', 'b'\] for the model and one number \(regression\)"),
    ],
)
def test_labels_that_differ_from_the_models_are_an_error(model, num_classes, data, message):
    with pytest.raises(InputError, match=message):
        check_labels(model, num_classes, data)


class HubRows:
    """What ``datasets`` gives for a split: columns, and the names of the classes."""

    def __init__(self, names, **columns):
        self.columns = columns
        self.features = {"label": types.SimpleNamespace(names=names)}

    def __getitem__(self, name):
        return self.columns[name]


def fake_datasets(monkeypatch, load_dataset):
    monkeypatch.setattr(hub, "_hub_answers", lambda: True)
    module = types.SimpleNamespace(load_dataset=load_dataset)
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_the_hubs_class_numbers_become_our_labels(monkeypatch):
    rows = HubRows(
        ["entailment", "neutral", "contradiction"], premise=["a"], hypothesis=["b"], label=[2]
    )
    splits = {"train": rows, "validation_matched": rows, "validation_mismatched": rows}
    asked = []
    fake_datasets(monkeypatch, lambda *names: asked.append(names) or splits)
    data = load_task(DataConfig(task_name="MNLI"))
    assert asked == [("nyu-mll/glue", "mnli")]
    assert data.train == data.dev["mismatched"] == [Example("a", "b", "contradiction")]


def test_the_hubs_named_binary_labels_stay_0_and_1():
    rows = HubRows(["negative", "positive"], sentence=["fine", "bad"], label=[1, 0])
    assert hub.hub_examples(find_task("SST-2"), rows) == [
        Example("fine", None, "1"),
        Example("bad", None, "0"),
    ]
    scores = HubRows(None, sentence1=["a"], sentence2=["b"], label=[4])
    assert hub.hub_examples(find_task("STS-B"), scores) == [Example("a", "b", 4.0)]


def test_only_development_rows_are_taken_from_the_hub_when_asked(monkeypatch):
    rows = HubRows(["negative", "positive"], sentence=["fine"], label=[1])
    fake_datasets(monkeypatch, lambda *names: {"train": rows, "validation": rows})
    assert load_task(DataConfig(task_name="SST-2"), need_train=False).train == []


@pytest.mark.parametrize("error", [ConnectionError("no route\nmore"), ValueError("no route")])
def test_a_failed_fetch_is_one_line_that_says_data_dir(monkeypatch, error):
    def fail(*names):
        raise error

    fake_datasets(monkeypatch, fail)
    with pytest.raises(InputError, match=r"^SST-2 must .*\(no route\); pass --data_dir") as caught:
        load_task(DataConfig(task_name="SST-2"))
    assert "\n" not in str(caught.value)


def test_an_unreachable_hub_fails_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace())
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # Nothing listens there.
    with pytest.raises(InputError, match="hub does not answer; pass --data_dir"):
        load_task(DataConfig(task_name="RTE"))


def test_a_missing_datasets_package_says_data_dir(monkeypatch):
    original = builtins.__import__

    def without_datasets(name, *args, **kwargs):
        if name == "datasets":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_datasets)
    with pytest.raises(InputError, match=r"`datasets`, .* is not installed; pass --data_dir"):
        load_task(DataConfig(task_name="RTE"))


def test_the_real_tasks_are_read():
    data = load_task(DataConfig(task_name="mrpc", data_dir=str(shared("data/glue/MRPC"))))
    assert (len(data.train), len(data.dev["dev"])) == (3668, 408)
    # Counted with cut and grep: 1,194 training pairs are labelled 0 and 2,474 are labelled 1.
    assert [e.label for e in data.train].count("1") == 2474
    folder = shared("data/chnsenticorp")
    own = DataConfig(
        train_file=str(folder / "train.tsv"),
        dev_file=str(folder / "dev.tsv"),
        text_columns=("0",),
        label_column="1",
    )
    chinese = load_task(own)
    assert chinese.labels == ("negative", "positive")
    assert (len(chinese.train), len(chinese.dev["dev"])) == (9600, 1200)
