from ofa_bert.export.model_card import CardFacts, model_card
from ofa_bert.subnet import full_subnet
from tests.tiny import tiny_config


def test_multiply_accumulates_are_those_of_the_length_that_texts_are_cut_to():
    config = tiny_config(12, num_layers=12, head_dim=64, num_neurons=3072, num_classes=2)
    card = model_card(
        config,
        full_subnet(config),
        1.0,
        CardFacts(measured_at=128),
        max_seq_length=64,
        file_bytes=1,
        parity="same",
    )
    # A layer: 64 (4 * 768^2 + 2 * 768 * 3072) + 2 * 64^2 * 768 = 459,276,288; 12 of them, and
    # the pooler's 768^2 and the classifier's 2 * 768: 5,511,906,816.
    assert "\n| MACs at 64 tokens | 5.512 G |\n" in card
