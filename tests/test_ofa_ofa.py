"""The OFA object: what runs, what it learns from, and that a failed call changes nothing."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from ofa_bert.errors import InputError
from ofa_bert.ofa import OFA, Block, Convert, DistillConfig, RunConfig, SuperLinear, supernet
from tests.test_ofa_layers import draw
from tests.tiny import paddle, randomise

nn = paddle.nn
UNTIED = RunConfig(same_search_space=[])
X = paddle.to_tensor(draw(3, 4))


def randomised(model):
    randomise(model)
    return model


class Chain(nn.Layer):
    """Three linear layers, of which ``depth`` says how many of the middle ones run."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.first = nn.Linear(4, width)
        self.middle = nn.LayerList([nn.Linear(width, width) for _ in range(3)])
        self.last = nn.Linear(width, 2)

    def forward(self, x, depth=None):
        x = paddle.tanh(self.first(x))
        for layer in self.middle[:depth]:
            x = paddle.tanh(layer(x))
        return self.last(x)


def chain(seed_of=Chain, **space):
    space = space or {"expand_ratio": [0.5, 1.0]}
    return Convert(supernet(**space)).convert(randomised(seed_of()))


def by_hand(model, x, widths, depth=3):
    """Cut the weights in NumPy; ``widths`` are those after the first and each middle layer."""
    w = {n.replace(".fn", ""): p.numpy().astype("float64") for n, p in model.named_parameters()}
    names = ["first", *(f"middle.{i}" for i in range(depth))]
    for name, width in zip(names, widths, strict=True):
        x = np.tanh(x @ w[f"{name}.weight"][: x.shape[-1], :width] + w[f"{name}.bias"][:width])
    return x @ w["last.weight"][: x.shape[-1]] + w["last.bias"]


CONFIG = {
    "first": {"expand_ratio": 0.5},
    "middle.0": {"expand_ratio": 1.0},
    "middle.1": {"expand_ratio": 0.67},  # 4.02 of 6
    "middle.2": {"expand_ratio": 0.5},
}
WIDTHS = [3, 6, 4, 3]


def test_a_configuration_is_the_network_cut_by_hand():
    ofa = OFA(chain())
    ofa.set_net_config(CONFIG)
    np.testing.assert_allclose(ofa(X).numpy(), by_hand(ofa.model, X.numpy(), WIDTHS), atol=1e-6)
    assert ofa.get_current_config == CONFIG
    ofa.set_net_config({})
    np.testing.assert_allclose(ofa(X).numpy(), by_hand(ofa.model, X.numpy(), [6] * 4), atol=1e-6)


def test_a_network_must_be_converted_and_a_depth_elastic():
    with pytest.raises(InputError, match=r"Chain has no elastic layer; convert it first: Convert"):
        OFA(Chain())
    with pytest.raises(InputError, match="depth is not elastic; give RunConfig elastic_depth"):
        OFA(chain()).set_net_config({"depth": 1})


def test_depth_is_handed_to_the_network():
    ofa = OFA(chain(), RunConfig(elastic_depth=(1, 2, 3)))
    ofa.set_net_config({"depth": 1, "middle.0": {"expand_ratio": 0.5}})
    expected = by_hand(ofa.model, X.numpy(), [6, 3], depth=1)
    np.testing.assert_allclose(ofa(X).numpy(), expected, atol=1e-6)
    assert ofa.ofa_layers["depth"] == [1, 2, 3]


def test_a_depth_may_be_numpys():
    ofa = OFA(chain(), RunConfig(elastic_depth=[np.int64(3), np.int64(1)]))
    ofa.set_net_config({"depth": np.int64(1)})
    expected = by_hand(ofa.model, X.numpy(), [6, 6], depth=1)
    np.testing.assert_allclose(ofa(X).numpy(), expected, atol=1e-6)
    ofa.set_net_config({})
    assert ofa.get_current_config["depth"] == 3
    assert [type(depth) for depth in ofa.ofa_layers["depth"]] == [int, int]


def test_names_of_the_original_layers_do_as_well():
    ofa = OFA(chain())
    keys = list(ofa.layers)
    assert keys[0].startswith("linear_")
    assert list(ofa.layers.values()) == list(ofa.ofa_layers.values())
    ofa.set_net_config({keys[0]: {"expand_ratio": 0.5}})
    assert ofa.get_current_config["first"] == {"expand_ratio": 0.5}


def test_layers_of_ones_own_in_blocks():
    class Own(nn.Layer):
        def __init__(self):
            super().__init__()
            self.one = Block(SuperLinear(4, 8, {"channel": (2, 4, 8)}), key="mine")
            self.fixed = Block(SuperLinear(8, 3, {"channel": (1, 3)}), fixed=True)

        def forward(self, x):
            return self.fixed(self.one(x))

    ofa = OFA(Own(), UNTIED)
    assert ofa.ofa_layers == {"one": {"channel": [2, 4, 8]}}
    ofa.set_net_config({"mine": {"channel": 2}})
    assert ofa(X).shape == [3, 3]


def test_two_owners_of_one_network_and_two_threads_do_not_disturb_each_other():
    model = chain()
    one = OFA(model)
    one.set_net_config(CONFIG)
    other = OFA(model)
    smallest = {name: {"expand_ratio": 0.5} for name in CONFIG}
    other.set_net_config(smallest)
    expected = {0: by_hand(model, X.numpy(), WIDTHS), 1: by_hand(model, X.numpy(), [3] * 4)}
    results: dict[int, list] = {0: [], 1: []}

    def run(number, ofa):
        for _ in range(20):
            results[number].append(ofa(X).numpy())

    threads = [threading.Thread(target=run, args=item) for item in enumerate((one, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, outputs in results.items():
        assert len(outputs) == 20
        for output in outputs:
            np.testing.assert_allclose(output, expected[number], atol=1e-6)
    # Called by itself, the network is at full size.
    np.testing.assert_allclose(model(X).numpy(), by_hand(model, X.numpy(), [6] * 4), atol=1e-6)


def test_no_configuration_aliases_another():
    ofa = OFA(chain(), UNTIED)
    given = {"first": {"expand_ratio": 0.5}}
    ofa.set_net_config(given)
    given["first"]["expand_ratio"] = 1.0
    taken = ofa.get_current_config
    assert taken["first"] == {"expand_ratio": 0.5}
    taken["first"]["expand_ratio"] = 1.0
    assert ofa.get_current_config["first"] == {"expand_ratio": 0.5}
    ofa.ofa_layers["first"]["expand_ratio"].clear()
    ofa.layers.clear()
    assert ofa.ofa_layers["first"] == {"expand_ratio": [0.5, 1.0]}
    assert ofa.model.first.candidate_config is not ofa.model.first.candidate_config


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"firts": {"expand_ratio": 1.0}}, "no elastic layer 'firts'; did you mean 'first'?"),
        ({"first": {"expand_rate": 1.0}}, "layer first has no 'expand_rate'; did you mean 'expand"),
        ({"first": {"expand_ratio": 1.5}}, "expand_ratio of first must be at most 1.0, .* got 1.5"),
        ({"first": {"expand_ratio": 0}}, "expand_ratio of first must be .* got 0"),
        ({"first": 0.5}, r"first must have a dict such as \{'expand_ratio': 0.5\}; got 0.5"),
        ({"last": {"expand_ratio": 0.5}}, "layer last has no 'expand_ratio'"),
        ({"depth": 4}, r"depth must be one of \[1, 2\]; got 4"),
        ({"depth": 1.0}, r"depth must be one of \[1, 2\]; got 1.0"),
        ({"depth": True}, r"depth must be one of \[1, 2\]; got True"),
        (["first"], "a configuration must be a dict of layers"),
        ({0: {}}, "no elastic layer 0; known: depth, first"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_changes_nothing(config, message):
    ofa = OFA(chain(), RunConfig(elastic_depth=(1, 2)))
    ofa.set_net_config({"depth": 2, "first": {"expand_ratio": 0.5}})
    before = ofa.get_current_config
    with pytest.raises(InputError, match=message) as caught:
        ofa.set_net_config(config)
    assert "\n" not in str(caught.value)
    assert ofa.get_current_config == before


def test_a_failed_forward_leaves_the_object_as_it_was():
    np.random.seed(3)
    ofa = OFA(chain(), RunConfig(same_search_space=[], dynamic_batch_size=[2], n_epochs=[[1]]))
    ofa.set_epoch(0)
    ofa(X)
    state = {k: v for k, v in ofa.__dict__.items() if k.startswith("_") and "layers" not in k}
    generator = ofa._generator.bit_generator.state
    with pytest.raises(ValueError, match=r"(?i)matmul|shape|dim"):
        ofa(paddle.ones([2, 9]))
    for name, value in state.items():
        assert ofa.__dict__[name] is value or ofa.__dict__[name] == value, name
    assert ofa._generator.bit_generator.state == generator


# Ties


def test_layers_of_one_width_choose_together():
    ofa = OFA(
        chain(), RunConfig(same_search_space=[["first", "middle.0"], ["middle.0", "middle.2"]])
    )
    assert list(ofa.ofa_layers) == ["first", "middle.1"]
    ofa.set_net_config({"middle.2": {"expand_ratio": 0.5}})
    config = ofa.get_current_config
    assert [config[name]["expand_ratio"] for name in CONFIG] == [0.5, 0.5, 1.0, 0.5]
    with pytest.raises(InputError, match=r"first and middle.2 must have one width, .* 0.5 and 1.0"):
        ofa.set_net_config({"first": {"expand_ratio": 0.5}, "middle.2": {"expand_ratio": 1.0}})


@pytest.mark.parametrize("narrowed", ["first", "middle.2"])
def test_layers_of_one_width_have_the_choices_that_all_of_them_have(narrowed):
    run = RunConfig(
        same_search_space=[["first", "middle.2"]],
        ofa_layers={narrowed: {"expand_ratio": [0.25, 0.5]}},
    )
    ofa = OFA(chain(expand_ratio=[0.25, 0.5, 1.0]), run)
    assert ofa.ofa_layers["first"] == {"expand_ratio": [0.25, 0.5]}
    for config in (ofa.get_current_config, ofa.sample_config("largest")):
        ratios = [config[name]["expand_ratio"] for name in CONFIG]
        assert ratios == [0.5, 1.0, 1.0, 0.5]
    assert ofa.sample_config("smallest")["middle.2"] == {"expand_ratio": 0.25}
    ofa.eval()
    expected = by_hand(ofa.model, X.numpy(), [3, 6, 6, 3])
    np.testing.assert_allclose(ofa(X).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            {"first": [0.25, 0.5], "middle.0": [1.0]},
            r"first and middle.0 must have one width, .*; first may have expand_ratio "
            r"\[0.25, 0.5\], middle.0 expand_ratio \[1.0\]; give both the same in ofa_layers",
        ),
        # Each two of them have one in common.
        (
            {"first": [0.25, 0.5], "middle.0": [0.5, 1.0], "middle.1": [0.25, 1.0]},
            r"first and middle.1 must .*; first may have expand_ratio \[0.5\], middle.1 "
            r"expand_ratio \[0.25, 1.0\]; ",
        ),
    ],
)
def test_layers_of_one_width_must_have_one_in_common(choices, message):
    settings = {
        "same_search_space": [list(choices)],
        "ofa_layers": {name: {"expand_ratio": ratios} for name, ratios in choices.items()},
    }
    model = chain(expand_ratio=[0.25, 0.5, 1.0])
    with pytest.raises(InputError, match=message) as caught:
        OFA(model, RunConfig(**settings))
    assert "\n" not in str(caught.value)
    # Where one of them keeps its full width, all do, whatever the choices.
    ofa = OFA(model, RunConfig(**settings, skip_layers=["first"]))
    assert {ofa.get_current_config[name]["expand_ratio"] for name in choices} == {1.0}


def test_a_skipped_layer_keeps_its_group():
    run = RunConfig(same_search_space=[["first", "middle.0"]], skip_layers=["middle.0"])
    ofa = OFA(chain(), run)
    assert list(ofa.ofa_layers) == ["middle.1", "middle.2"]
    with pytest.raises(InputError, match="first must keep its full width"):
        ofa.set_net_config({"first": {"expand_ratio": 0.5}})


def test_choices_by_hand():
    ofa = OFA(chain(), RunConfig(ofa_layers={"first": {"expand_ratio": [0.25, 0.75]}}))
    assert ofa.ofa_layers["first"] == {"expand_ratio": [0.25, 0.75]}
    assert ofa.get_current_config["first"] == {"expand_ratio": 0.75}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"skip_layers": ["frist"]}, "skip_layers: no elastic layer 'frist'; did you mean 'first'"),
        ({"same_search_space": [["frist"]]}, "same_search_space: no elastic layer 'frist'"),
        ({"ofa_layers": {"frist": {}}}, "ofa_layers: no elastic layer 'frist'"),
        ({"ofa_layers": {"first": {"kernel_size": [3]}}}, "layer first has no 'kernel_size'"),
        ({"ofa_layers": {"first": {"expand_ratio": [2]}}}, r"at most 1.0; got \[2\]"),
        ({"n_epochs": [[1], [2]]}, r"one entry for each task of \['width'\]"),
        ({"dynamic_batch_size": [1, 2]}, r"one entry for each task of \['width'\]"),
        ({"n_epochs": [[2, 1]]}, "ascending epochs"),
        ({"n_epochs": [1]}, "ascending epochs"),
        ({"n_epochs": [[1]], "dynamic_batch_size": [1, 2]}, "one entry for each of the 1 tasks"),
        ({"dynamic_batch_size": [0]}, "whole numbers above 0"),
        ({"train_batch_size": 0}, "train_batch_size must be a whole number above 0; got 0"),
        ({"n_epochs": 5}, r"n_epochs must be a list such as \[\[1\], \[2, 3\]\]; got 5"),
        ({"n_epochs": [[0]]}, "ascending epochs"),
        ({"dynamic_batch_size": 2}, r"dynamic_batch_size must be a list .*; got 2"),
        ({"init_learning_rate": [0.1]}, r"init_learning_rate must be a list .*; got \[0.1\]"),
        ({"elastic_depth": 3}, "elastic_depth must be a list .*; got 3"),
        ({"skip_layers": "first"}, r"skip_layers must be a list .*; got 'first'"),
        ({"same_search_space": ["first", "middle.0"]}, "same_search_space must be a list such as"),
        ({"ofa_layers": {"first": {"expand_ratio": 0.5}}}, "ofa_layers must be a dict such as"),
        ({"ofa_layers": {"first": {"expand_ratio": ["a"]}}}, r"at most 1.0; got \['a'\]"),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(InputError, match=message) as caught:
        OFA(chain(), RunConfig(**settings))
    assert "\n" not in str(caught.value)


def test_kernels_by_hand_are_of_those_the_layer_has():
    network = nn.Sequential(nn.Conv2D(1, 2, 5), nn.Conv2D(2, 1, 1))
    model = Convert(supernet(kernel_size=[3, 5])).convert(network)
    with pytest.raises(InputError, match=r"kernel_size of 0 must be of \[3, 5\]; got \[1, 5\]"):
        OFA(model, RunConfig(ofa_layers={"0": {"kernel_size": [1, 5]}}))


def test_epochs_may_be_numpys():
    ofa = OFA(chain(), UNTIED)
    for epoch in np.arange(2):
        ofa.set_epoch(epoch)


def test_depth_needs_a_network_that_takes_it():
    model = Convert(supernet(expand_ratio=[1.0])).convert(nn.Sequential(nn.Linear(2, 2)))

    class NoDepth(nn.Layer):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(x)

    with pytest.raises(InputError, match=r"must take a depth argument, .* NoDepth.forward takes x"):
        OFA(NoDepth(), RunConfig(elastic_depth=[1]))


# What runs next


def test_the_largest_where_nothing_is_open():
    ofa = OFA(chain(), UNTIED, train_full=True)
    ofa(X)
    assert {sizes["expand_ratio"] for sizes in ofa.get_current_config.values()} == {1.0}


def test_evaluation_draws_nothing():
    ofa = OFA(chain(), UNTIED)
    ofa.eval()
    np.testing.assert_allclose(ofa(X).numpy(), by_hand(ofa.model, X.numpy(), [6] * 4), atol=1e-6)
    ofa.train()
    for _ in range(5):
        ofa(X)
    trained = ofa.get_current_config
    ofa.eval()
    for _ in range(3):
        ofa(X)
        assert ofa.get_current_config == trained


def test_numpys_seed_repeats_what_is_drawn():
    def configs():
        np.random.seed(7)
        ofa = OFA(chain(), UNTIED)
        return [(ofa(X), ofa.get_current_config)[1] for _ in range(6)]

    assert configs() == configs()
    assert len({str(config) for config in configs()}) > 1


def test_setting_none_draws_again():
    ofa = OFA(chain(), UNTIED)
    ofa.set_net_config(CONFIG)
    ofa(X)
    assert ofa.get_current_config == CONFIG
    ofa.set_net_config(None)
    drawn = [(ofa(X), ofa.get_current_config)[1] for _ in range(8)]
    assert any(config != CONFIG for config in drawn)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ofa: ofa.set_task("wdith"), "no task 'wdith'; did you mean 'width'"),
        (lambda ofa: ofa.set_task("depth"), "no layer has a choice of depth; .* tasks: width"),
        (lambda ofa: ofa.set_task("width", phase=-1), "phase must be a whole number"),
        (lambda ofa: ofa.set_epoch(-1), "epoch must be a whole number"),
        (lambda ofa: ofa.set_epoch("1"), "epoch must be a whole number"),
        (lambda ofa: ofa.calc_distill_loss(), "give DistillConfig mapping_layers"),
        (lambda ofa: ofa.decode_token([0]), "call tokenize first"),
        (lambda ofa: ofa.decode_token(0), "a token must be a list of numbers; got 0"),
        (lambda ofa: ofa.set_task(5), "the name of a task or a list of them; got 5"),
        (lambda ofa: ofa.search(0.5), "eval_func must be a function; got 0.5"),
        (lambda ofa: ofa.search(len, 0.5), "condition must be a function; got 0.5"),
        (lambda ofa: OFA(5), "got a int instead of a Layer"),
        (lambda ofa: OFA(chain(), {}), "got a dict instead of a RunConfig"),
        (lambda ofa: OFA(chain(), None, {}), "got a dict instead of a DistillConfig"),
        (lambda ofa: OFA(chain()).search(lambda o, c: 0.0), "run the network once"),
    ],
)
def test_a_wrong_call_is_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call(OFA(chain(), UNTIED))
    assert "\n" not in str(caught.value)


# Tokens


def test_tokens_stand_for_configurations_that_run():
    ofa = OFA(chain(expand_ratio=[0.25, 0.5, 1.0]), RunConfig(same_search_space=[]))
    ofa.set_task("width")
    ofa.tokenize()
    assert ofa.token_map["expand_ratio"]["first"] == {0: 0.25, 1: 0.5, 2: 1.0}
    assert ofa.search_cands == [[0, 1, 2]] * 4
    config = ofa.decode_token([1, 2, 0, 2])
    assert [config[name]["expand_ratio"] for name in CONFIG] == [0.5, 1.0, 0.25, 1.0]
    assert ofa.get_current_config == config
    assert ofa(X).shape == [3, 2]
    for wrong in ([1], [3, 0, 0, 0]):
        with pytest.raises(InputError, match="one number of each of search_cands"):
            ofa.decode_token(wrong)


def test_tokens_of_all_tasks():
    ofa = OFA(chain(), RunConfig(same_search_space=[], elastic_depth=[1, 3]))
    ofa.tokenize()
    assert ofa.token_map["depth"] == {"depth": {0: 1, 1: 3}}
    assert ofa.decode_token([0, 1, 1, 1, 0])["depth"] == 1


# Distillation


def distilled(**settings):
    teacher = randomised(Chain())
    teacher.first.bias.set_value(draw(6, seed=5))
    config = DistillConfig(teacher_model=teacher, mapping_layers=["middle.1", "first"], **settings)
    return OFA(chain(), UNTIED, config), teacher


def test_the_teacher_is_no_part_of_the_model():
    ofa, teacher = distilled()
    ofa.set_net_config({})  # a drawn one may be too narrow to be compared
    ofa.train()
    teacher.train()
    student, answer = ofa(X)
    assert answer.stop_gradient
    assert not teacher.training
    assert not any(layer.training for layer in teacher.sublayers())
    assert ofa.training
    ours = {id(p) for p in ofa.parameters()}
    assert not ours & {id(p) for p in teacher.parameters()}
    assert set(ofa.state_dict()) == {f"model.{name}" for name in ofa.model.state_dict()}
    (student.sum() + answer.sum() + ofa.calc_distill_loss()).backward()
    assert all(p.grad is None for p in teacher.parameters())
    np.testing.assert_allclose(answer.numpy(), by_hand(teacher, X.numpy(), [6] * 4), atol=1e-6)


def test_the_loss_is_the_sum_over_mapped_layers():
    ofa, teacher = distilled(lambda_distill=0.25)
    ofa.set_net_config({})
    ofa(X)
    x, total = X.numpy(), 0.0
    ours = {n.replace(".fn", ""): p.numpy() for n, p in ofa.model.named_parameters()}
    theirs = {n: p.numpy() for n, p in teacher.named_parameters()}

    def outputs(w):
        first = x @ w["first.weight"] + w["first.bias"]
        inner = np.tanh(first)
        for layer in range(2):
            last = inner @ w[f"middle.{layer}.weight"] + w[f"middle.{layer}.bias"]
            inner = np.tanh(last)
        return first, last

    for student, answer in zip(outputs(ours), outputs(theirs), strict=True):
        total += ((student - answer) ** 2).mean()
    np.testing.assert_allclose(ofa.calc_distill_loss().item(), 0.25 * total, rtol=1e-5)


def test_a_loss_of_ones_own():
    ofa, _ = distilled(distill_fn=lambda ours, theirs: (ours - theirs).abs().max())
    ofa.set_net_config({})
    ofa(X)
    ofa.model.first.bias.set_value(ofa.model.first.bias)
    kept, answers = ofa._mapped
    expected = sum(np.abs(kept[n].numpy() - answers[n].numpy()).max() for n in kept)
    np.testing.assert_allclose(ofa.calc_distill_loss().item(), expected, rtol=1e-6)


def test_padding_counts_in_no_loss():
    teacher = randomised(Chain())
    teacher.first.bias.set_value(draw(6, seed=5))
    ofa = OFA(chain(), UNTIED, DistillConfig(teacher_model=teacher, mapping_layers=["first"]))
    ofa.set_net_config({})
    x = paddle.to_tensor(draw(2, 5, 4))
    mask = paddle.to_tensor([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
    ofa(x)
    ((ours, theirs),) = ((k["first"].numpy(), a["first"].numpy()) for k, a in [ofa._mapped])
    seen = mask.numpy().astype(bool)
    expected = ((ours - theirs)[seen] ** 2).mean()
    np.testing.assert_allclose(ofa.calc_distill_loss(mask).item(), expected, rtol=1e-5)


@pytest.mark.parametrize("op", ["linear", "LINEAR"])
def test_an_operator_takes_any_width_to_the_teachers(op):
    ofa, _ = distilled(mapping_op=op)
    assert len(ofa.netAs_param) == 4
    assert not {id(p) for p in ofa.netAs_param} & {id(p) for p in ofa.parameters()}
    ofa.set_net_config({name: {"expand_ratio": 0.5} for name in CONFIG})
    ofa(X)
    ofa.calc_distill_loss().backward()
    assert all(p.grad is not None for p in ofa.netAs_param)


@pytest.mark.parametrize("op", ["conv", "conv2d"])
def test_a_convolution_as_operator_on_a_composite_layer(op):
    class Images(nn.Layer):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4), nn.ReLU())
            self.head = nn.Conv2D(4, 2, 1)

        def forward(self, x):
            return self.head(self.block(x))

    teacher = Images()
    teacher.block = nn.Sequential(nn.Conv2D(3, 8, 3), nn.ReLU())
    teacher.head = nn.Conv2D(8, 2, 1)
    model = Convert(supernet(expand_ratio=[0.5, 1.0])).convert(Images())
    config = DistillConfig(teacher_model=teacher, mapping_layers=["block"], mapping_op=op)
    ofa = OFA(model, UNTIED, config)
    assert ofa.netAs_param[0].shape == [8, 4, 1, 1]
    ofa.set_net_config({"block.0": {"expand_ratio": 0.5}})
    ofa(paddle.to_tensor(draw(2, 3, 6, 6)))
    assert ofa.calc_distill_loss().shape == []


def test_layers_that_did_not_run_count_in_no_loss():
    teacher = randomised(Chain())
    config = DistillConfig(teacher_model=teacher, mapping_layers=["first", "middle.2"])
    ofa = OFA(chain(), RunConfig(same_search_space=[], elastic_depth=[1, 3]), config)
    ofa.set_net_config({"depth": 1})
    ofa(X)
    # The student has the teacher's weights, and only its first layer ran.
    assert ofa.calc_distill_loss().item() < 1e-12


def test_one_batch_is_asked_once():
    ofa, teacher = distilled()
    calls = []
    teacher.register_forward_post_hook(lambda *_: calls.append(1))
    for width in (0.5, 0.67, 1.0):
        ofa.set_net_config({"first": {"expand_ratio": width}, "middle.1": {"expand_ratio": 1.0}})
        ofa(X)
    assert len(calls) == 1
    ofa(paddle.to_tensor(X.numpy() + 1))
    assert len(calls) == 2
    # A buffer that is filled again is another batch.
    batch = paddle.to_tensor(X.numpy())
    ofa(batch)
    batch.set_value(X.numpy() * 2)
    _, answer = ofa(batch)
    assert len(calls) == 4
    expected = by_hand(teacher, X.numpy() * 2, [6] * 4)
    np.testing.assert_allclose(answer.numpy(), expected, atol=1e-6)


class Arrays(Chain):
    """Takes an array, or an object that holds one."""

    def forward(self, x, depth=None):
        return super().forward(paddle.to_tensor(getattr(x, "pixels", x)), depth)


def asked_with_arrays():
    """Give an OFA that runs at full size, its teacher, and what counts the teacher's answers."""
    teacher, calls = randomised(Arrays()), []
    teacher.register_forward_post_hook(lambda *_: calls.append(1))
    ofa = OFA(chain(Arrays), UNTIED, DistillConfig(teacher_model=teacher))
    ofa.set_net_config({})
    return ofa, teacher, calls


def test_arrays_are_batches_too():
    ofa, teacher, calls = asked_with_arrays()
    batch = draw(3, 4)
    ofa(batch)
    ofa(batch.copy())
    assert len(calls) == 1
    batch *= 2  # a buffer that is filled again
    _, answer = ofa(batch)
    assert len(calls) == 2
    np.testing.assert_allclose(answer.numpy(), by_hand(teacher, batch, [6] * 4), atol=1e-6)


def test_a_batch_in_an_object_of_ones_own_is_asked_each_time():
    ofa, teacher, calls = asked_with_arrays()
    batch = SimpleNamespace(pixels=draw(3, 4))
    ofa(batch)
    batch.pixels = draw(3, 4, seed=1)
    _, answer = ofa(batch)
    assert len(calls) == 2
    np.testing.assert_allclose(answer.numpy(), by_hand(teacher, batch.pixels, [6] * 4), atol=1e-6)


def test_an_answer_that_was_written_into_is_asked_for_again():
    ofa, teacher = distilled()
    _, answer = ofa(X)
    answer.scale_(0.0)
    _, again = ofa(X)
    expected = by_hand(teacher, X.numpy(), [6] * 4)
    np.testing.assert_allclose(again.numpy(), expected, atol=1e-6)


def test_weights_for_the_teacher(tmp_path):
    source = randomised(Chain())
    path = str(tmp_path / "teacher.pdparams")
    paddle.save(source.state_dict(), path)
    for weights in (path, source.state_dict()):
        teacher = Chain()
        OFA(chain(), UNTIED, DistillConfig(teacher_model=teacher, teacher_model_path=weights))
        np.testing.assert_array_equal(teacher.last.weight.numpy(), source.last.weight.numpy())
    with pytest.raises(InputError, match="must hold every weight of the teacher"):
        OFA(chain(), UNTIED, DistillConfig(teacher_model=Chain(), teacher_model_path={}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher_model": None}, "teacher_model must be a paddle.nn.Layer; got None"),
        ({"mapping_op": "conv3d"}, "conv2d, conv, linear or None; got 'conv3d'"),
        ({"mapping_layers": ["frist"]}, "no layer 'frist'; did you mean 'first'"),
        ({"mapping_layers": "first"}, r"list of names; got 'first'; type \['first'\]"),
        ({"distill_fn": 3}, "distill_fn must be a function"),
        ({"lambda_distill": -1}, "lambda_distill must be at least 0"),
        ({"lambda_distill": "0.1"}, "lambda_distill must be at least 0; got '0.1'"),
        ({"mapping_op": ["conv"]}, r"conv2d, conv, linear or None; got \['conv'\]"),
        ({"mapping_layers": [1]}, r"mapping_layers must be a list of names; got \[1\]"),
        ({"teacher_model_path": 5}, "a file or a state dict; got 5"),
        ({"teacher_model_path": "no.pdparams"}, "there is none at 'no.pdparams'"),
    ],
)
def test_distillation_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message) as caught:
        OFA(chain(), UNTIED, DistillConfig(**{"teacher_model": Chain(), **settings}))
    assert "\n" not in str(caught.value)


def test_widths_that_cannot_be_compared():
    ofa, _ = distilled()
    ofa.set_net_config({"first": {"expand_ratio": 0.5}})
    ofa(X)
    with pytest.raises(InputError, match=r"first gives \[3, 3\] here and \[3, 6\] in the teacher"):
        ofa.calc_distill_loss()


def test_the_teacher_is_another_network():
    model = chain()
    with pytest.raises(InputError, match="another network than the one that is trained"):
        OFA(model, UNTIED, DistillConfig(teacher_model=model))


def test_the_loss_before_any_forward():
    ofa, _ = distilled()
    with pytest.raises(InputError, match="run the network first"):
        ofa.calc_distill_loss()


def test_a_network_wrapped_for_data_parallel_training():
    config = DistillConfig(teacher_model=randomised(Chain()), mapping_layers=["_layers.first"])
    with pytest.warns(UserWarning, match="single-card"):
        ofa = OFA(paddle.DataParallel(chain()), UNTIED, config)
    assert list(ofa.ofa_layers) == list(CONFIG)
    ofa.set_net_config(CONFIG)
    network = ofa.model._layers
    expected = by_hand(network, X.numpy(), WIDTHS)
    np.testing.assert_allclose(ofa(X)[0].numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(ofa.export(CONFIG)(X).numpy(), expected, atol=1e-6)
    ofa.set_net_config({})
    ofa(X)
    assert ofa.calc_distill_loss().item() < 1e-12  # the same weights
    # Wrapped later, as the published scripts do.
    later = OFA(chain(), UNTIED)
    with pytest.warns(UserWarning, match="single-card"):
        later.model = paddle.DataParallel(later.model)
    later.set_net_config(CONFIG)
    np.testing.assert_allclose(later(X).numpy(), expected, atol=1e-6)
