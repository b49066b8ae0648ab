import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_bert.errors import InputError
from ofa_bert.model_config import ModelConfig
from ofa_bert.subnet import (
    Subnet,
    count_macs,
    count_params,
    describe,
    full_subnet,
    kept_count,
    resolve_widths,
    sub_config,
    subnet_at_width,
)

BERT_BASE = ModelConfig(30522, 768, (12,) * 12, (3072,) * 12, 64)


@pytest.mark.parametrize(
    ("total", "width_mult", "kept"),
    [
        (12, 5 / 6, 10),
        (12, 0.8333, 10),
        (12, 0.3, 4),  # 3.6
        (12, 0.7, 8),  # 8.4
        (12, 0.9, 11),  # 10.8
        (12, 0.375, 5),  # 4.5: halves go up
        (12, 0.125, 2),  # 1.5
        (12, 0.01, 1),  # never none
        (50, 0.29, 15),  # 14.5, which floating point makes 14.499999999999998
        (3072, 2 / 3, 2048),
    ],
)
def test_kept_count_by_hand(total, width_mult, kept):
    assert kept_count(total, width_mult) == kept


@given(total=st.integers(1, 64), data=st.data())
def test_kept_count_inverts_a_whole_fraction(total, data):
    kept = data.draw(st.integers(1, total))
    assert kept_count(total, kept / total) == kept


@given(
    total=st.integers(1, 4096),
    widths=st.tuples(st.floats(0.001, 1.0), st.floats(0.001, 1.0)),
)
def test_kept_count_is_monotone_and_within_half_of_the_fraction(total, widths):
    narrow, wide = sorted(widths)
    assert 1 <= kept_count(total, narrow) <= kept_count(total, wide) <= total
    assert kept_count(total, wide) == 1 or abs(kept_count(total, wide) - total * wide) <= 0.500001


@pytest.mark.parametrize("width_mult", [0.0, -0.5, 1.01, float("nan")])
def test_a_width_outside_0_to_1_is_refused(width_mult):
    with pytest.raises(InputError, match="width_mult must be above 0 and at most 1; got"):
        kept_count(12, width_mult)


def test_two_widths_of_one_subnetwork_are_refused():
    with pytest.raises(InputError, match=r"widths 0\.5 and 0\.5 are the same .*; name one of them"):
        resolve_widths(BERT_BASE, [1.0, 0.5, 0.50001])


def test_two_widths_that_are_written_alike_are_refused():
    # They differ: 3072 * 0.50146 = 1540.49 and 3072 * 0.50147 = 1540.52 neurons, 1540 and 1541.
    message = r"widths 0\.50147 and 0\.50146 are both written 0\.5015; name one of them"
    with pytest.raises(InputError, match=message):
        resolve_widths(BERT_BASE, [1.0, 0.50146, 0.50147])


def test_widths_resolve_widest_first():
    assert list(resolve_widths(BERT_BASE, [0.5, 1.0, 0.75])) == [1.0, 0.75, 0.5]


def test_params_of_bert_base():
    # bert-base-uncased has 109,482,240 parameters; a classifier of 2 adds 768 * 2 + 2.
    assert count_params(BERT_BASE, full_subnet(BERT_BASE)) == 109_482_240 + 1_538
    # Embeddings: (30522 + 512 + 2) * 768 + 2 * 768.
    without = count_params(BERT_BASE, full_subnet(BERT_BASE), embeddings=False)
    assert without == 109_482_240 + 1_538 - 23_837_184


def test_macs_of_a_small_layer_by_hand():
    config = ModelConfig(10, 4, (2,), (8,), 2, num_classes=3)
    subnet = Subnet((0,), (1,), (5,))
    # 3 tokens, one head of 2: q, k, v and out 4 * 4*2 each token; scores and contexts 2 * 3*3*2;
    # FFN 2 * 4*5 each token; pooler 4*4; classifier 4*3.
    assert count_macs(config, subnet, 3) == 3 * 32 + 36 + 3 * 40 + 16 + 12


def test_sub_config_has_the_smaller_numbers_and_the_same_head_dim():
    config = sub_config(BERT_BASE, subnet_at_width(BERT_BASE, 0.5))
    assert (config.num_attention_heads[0], config.intermediate_size[0]) == (6, 1536)
    assert (config.head_dim, config.hidden_size, config.num_layers) == (64, 768, 12)


def test_a_subnet_larger_than_the_model_is_refused():
    with pytest.raises(InputError, match="layer 0 has 12 heads; a sub-network keeps 1 to that"):
        sub_config(BERT_BASE, Subnet((0,), (13,), (1,)))
    with pytest.raises(InputError, match="layers must be 0 to 11"):
        sub_config(BERT_BASE, Subnet((12,), (1,), (1,)))


def test_a_malformed_subnet_is_refused():
    with pytest.raises(InputError, match="needs one count of heads and of neurons"):
        Subnet((0, 1), (1,), (1,))
    with pytest.raises(InputError, match="layers must ascend"):
        Subnet((1, 0), (1, 1), (1, 1))


def test_describe_gives_ranges_where_layers_differ():
    assert describe(Subnet((0, 1), (4, 4), (3, 7))) == "2 layers, 4 heads, 3-7 neurons"
