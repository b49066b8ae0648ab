"""What goes wrong in paddleslim.nas.ofa does not go wrong here: one test for each fault.

The number in a test's name is that of the predecessor's fault:

0. the headlines: 1 nothing runs on Paddle 3; 2 LayerNorm of a batch of three; 3 the scale of
   attention; 4 the teacher's dropout; 5 gradients that pile up; 6 aliased configurations; 7 heads
   that are no whole number; 8 a second export cuts the first; 9 exports that cannot be used; 10 the
   teacher asked once a width.
A. the interface: 1 names; 2 supernet; 3 Convert; 4 layers; 5 RunConfig; 6 DistillConfig; 7 OFA; 8
   utils.
C. the rest, in test_peers_results: results that are silently wrong, and crashes.

Some are tested elsewhere:

- 0.2: test_norms.test_layer_norm.
- 0.10: test_teacher.test_one_batch_is_asked_once.
- A.2, a ratio without 1.0: test_convert_mistakes.test_a_space_that_makes_no_sense; so are A.8's
  even kernels.
- A.3: test_convert.test_words_at_full_size_and_tied_layers_stay_tied for names and ties,
  test_each_layer_becomes_its_elastic_one for the older BatchNorm, and test_convert_kernels.
  test_kernels_of_one_even_ones_and_oblong_ones_have_no_choice for large kernels.
- A.4, a network of two owners: test_configurations.
  test_two_owners_of_one_network_and_two_threads_do_not_disturb_each_other.
- A.7: test_schedule.test_an_epoch_belongs_to_the_first_phase_that_ends_after_it for the bounds of
  n_epochs, test_a_task_set_by_hand for words and phases, and
  test_budget.test_a_converted_network_is_searched_within_its_macs.
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from ofa_bert import ofa as package
from ofa_bert.ofa import OFA, Convert, DistillConfig, RunConfig, layers, supernet, utils
from ofa_bert.ofa.utils import nlp_utils
from tests.ofa.chain import CONFIG, UNTIED, X, by_hand, chain
from tests.ofa.encoder import BATCHES, HEADS, IDS, LAYERS, converted, encoder
from tests.ofa.values import close, draw, run
from tests.tiny import paddle

nn = paddle.nn


# 0. The headlines


def test_0_1_embedding_and_layer_norm_can_be_made():
    assert layers.SuperEmbedding(3, 4, name="words").weight.shape == [3, 4]
    assert layers.SuperLayerNorm(4, 1e-5, None, None, "norm")._epsilon == 1e-5


def test_0_3_attention_keeps_its_scale_and_importing_changes_nothing():
    functions = [nn.MultiHeadAttention.forward, nn.TransformerEncoder.forward]
    importlib.reload(nlp_utils)
    assert functions == [nn.MultiHeadAttention.forward, nn.TransformerEncoder.forward]
    plain = nn.MultiHeadAttention(12, 3)
    x = paddle.to_tensor(draw(2, 4, 12))
    expected = plain(x).numpy()
    elastic = Convert(supernet(expand_ratio=[1.0])).convert([plain, nn.Linear(1, 1)])[0]
    close(elastic(x), expected, atol=1e-6)


def test_0_4_the_teacher_has_no_dropout_whatever_is_called():
    teacher = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 2))
    first, last = ([p.numpy() for p in teacher[i].parameters()] for i in (0, 2))
    ofa = OFA(chain(), UNTIED, DistillConfig(teacher_model=teacher))
    for call in (ofa.train, teacher.train, ofa.ofa_teacher_model.model.train):
        # In turn: the teacher remembers its answer to the last one alone.
        for x in (X.numpy(), X.numpy() + 1):
            call()
            answer = ofa(paddle.to_tensor(x))[1]
            close(answer, (x @ first[0] + first[1]) @ last[0] + last[1])


def test_0_5_gradients_of_importance_do_not_pile_up():
    model = converted(encoder())
    by_batch = [
        nlp_utils.compute_neuron_head_importance("x", model, [batch], LAYERS, HEADS)
        for batch in BATCHES
    ]
    together = nlp_utils.compute_neuron_head_importance("x", model, BATCHES, LAYERS, HEADS)
    total = sum(heads.numpy() for heads, _ in by_batch)
    np.testing.assert_allclose(together[0].numpy(), total, rtol=1e-5)
    for layer in range(LAYERS):
        total = sum(neurons[layer] for _, neurons in by_batch)
        np.testing.assert_allclose(together[1][layer], total, rtol=1e-5)
    assert all(p.grad is None for p in model.parameters())
    assert not any(p.stop_gradient for p in model.parameters())


def test_0_6_dynabert_configurations_are_their_own():
    ofa = OFA(converted(encoder()))
    choices = ofa.ofa_layers
    half = utils.dynabert_config(ofa, 0.5)
    full = utils.dynabert_config(ofa, 1.0)
    assert half["encoder.layers.0.linear1"] == {"expand_ratio": 0.5}
    assert full["encoder.layers.0.linear1"] == {"expand_ratio": 1.0}
    assert ofa.ofa_layers == choices


def test_0_7_heads_need_not_be_whole_and_are_not_corrupted():
    ofa = OFA(converted(encoder()))
    ofa.eval()
    attention = ofa.model.encoder.layers[0].self_attn
    for width in (0.3, 0.6, 0.67, 0.83, 0.9):
        ofa.set_net_config(utils.dynabert_config(ofa, width))
        assert ofa(IDS).shape == [3, 3]
        assert (attention.num_heads, attention.head_dim) == (4, 3)
    with pytest.raises(ValueError, match=r"(?i)broadcast"):  # in the middle of attention
        ofa(IDS, attention_mask=paddle.ones([5, 5]))
    assert attention.num_heads == 4


def test_0_8_a_second_export_does_not_cut_the_first():
    ofa = OFA(converted(encoder()))
    neurons = []
    for width in (0.75, 0.5, 1.0):
        small = ofa.export(utils.dynabert_config(ofa, width), [[1, 4]], ["int64"])
        neurons.append(small.encoder.layers[0].linear1.weight.shape[1])
    assert neurons == [18, 12, 24]


def test_0_9_an_export_is_reloaded_and_trained():
    ofa = OFA(chain(), UNTIED)
    half = {name: {"expand_ratio": 0.5} for name in CONFIG}
    small = ofa.export(half, [[1, 4]], ["float32"])
    again = ofa.export(half, [[1, 4]], ["float32"])
    for parameter in again.parameters():
        parameter.set_value(paddle.zeros_like(parameter))
    again.set_state_dict(small.state_dict())
    np.testing.assert_array_equal(again(X).numpy(), small(X).numpy())
    again(X).sum().backward()
    assert all(p.grad is not None for p in again.parameters())


# A. The interface


def test_a_1_what_the_documents_import_is_there():
    for name in ("OFA", "Convert", "supernet", "RunConfig", "DistillConfig", "Block"):
        assert hasattr(package, name)
    for module in (
        "convert_super",
        "layers",
        "layers_base",
        "get_sub_model",
        "utils.utils",
        "utils.nlp_utils",
    ):
        found = importlib.import_module(f"ofa_bert.ofa.{module}")
        assert found.__doc__
    for name in ("compute_start_end", "get_same_padding", "search_idx", "remove_model_fn"):
        assert hasattr(utils, name)
    assert callable(utils.reorder_neuron_head)


def test_a_2_a_lone_ratio_is_not_ignored():
    model = Convert(supernet(expand_ratio=2)).convert(
        nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    )
    assert model[0].weight.shape == [2, 6]


def test_a_2_a_space_is_not_used_up():
    space = supernet(channel=[(2, 4), (1,)])
    with space as context:
        context.convert([nn.Linear(3, 4), nn.Linear(4, 1)])
    assert space.channel == ((2, 4), (1,))
    Convert(space).convert([nn.Linear(3, 4), nn.Linear(4, 1)])


def test_a_4_choices_are_not_shared_and_nothing_is_left_on_layers():
    one, other = layers.SuperConv2D(2, 2, 3), layers.SuperConv2D(2, 2, 3)
    assert one.candidate_config is not other.candidate_config
    before = set(one.__dict__)
    run(one, draw(1, 2, 5, 5), kernel_size=1, channel=1)
    assert set(one.__dict__) == before


def test_a_5_a_skipped_layer_has_no_choice_without_any_group():
    ofa = OFA(chain(), RunConfig(same_search_space=[], skip_layers=["first"]))
    assert "first" not in ofa.ofa_layers


def test_a_6_the_documented_names_of_operators():
    model = nn.Sequential(nn.Conv2D(3, 4, 1), nn.Conv2D(4, 2, 1))
    Convert(supernet(expand_ratio=[0.5, 1.0])).convert(model)
    teacher = nn.Sequential(nn.Conv2D(3, 4, 1), nn.Conv2D(4, 2, 1))
    for op in ("conv", "conv2d", "Conv2D"):
        config = DistillConfig(teacher_model=teacher, mapping_layers=["0"], mapping_op=op)
        assert len(OFA(model, UNTIED, config).netAs_param) == 2


def test_a_7_the_schedule_moves_without_dynamic_batch_size():
    run_config = RunConfig(
        same_search_space=[],
        elastic_depth=(1, 3),
        n_epochs=[[1], [2]],
        total_images=4,
        train_batch_size=2,
    )
    ofa = OFA(chain(), run_config)
    tasks = []
    for _ in range(4):
        tasks.append(ofa.task)
        ofa(X)
    assert tasks == [["depth"], ["depth"], ["depth", "width"], ["depth", "width"]]


def test_a_7_a_decoded_token_runs():
    ofa = OFA(chain(), UNTIED)
    ofa.tokenize()
    ofa.decode_token([0, 1, 0, 1])
    expected = by_hand(ofa.model, X.numpy(), [3, 6, 3, 6])
    np.testing.assert_allclose(ofa(X).numpy(), expected, atol=1e-6)
