import pytest

from ofa_bert.rounding import round_down, round_up


@pytest.mark.parametrize(
    ("number", "down", "up"),
    [
        (28.999999999999996, 29, 29),
        (110.00000000000001, 110, 110),
        (7.0, 7, 7),
        (7.5, 7, 8),
        (7.001, 7, 8),
        (6.999, 6, 7),
        (0.0, 0, 0),
    ],
)
def test_whole_numbers_of_what_floating_point_left_beside_them(number, down, up):
    assert (round_down(number), round_up(number)) == (down, up)
