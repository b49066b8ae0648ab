import pytest

from ofa_bert.errors import InputError
from ofa_bert.widths import parse_width, width_label


def test_parse_width_reads_decimals_and_fractions():
    assert [parse_width(t) for t in ("0.5", "1/2", " 5/6 ", "1", 0.25)] == [
        0.5,
        0.5,
        5 / 6,
        1.0,
        0.25,
    ]


@pytest.mark.parametrize("text", ["half", "1/0", "", "1/2/3"])
def test_parse_width_refuses_others(text):
    with pytest.raises(InputError, match="width_mult must be a number or a fraction; got"):
        parse_width(text)


@pytest.mark.parametrize(("width", "label"), [(5 / 6, "0.8333"), (0.5, "0.5"), (1.0, "1.0")])
def test_width_label(width, label):
    assert width_label(width) == label
