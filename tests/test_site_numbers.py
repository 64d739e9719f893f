import math

import pytest

from sitegen import numbers


@pytest.mark.parametrize(
    ("fraction", "printed"),
    [
        (0.0, "0 %"),
        (0.0897, "9.0 %"),
        (0.4062, "40.6 %"),
        (-0.25, "−25.0 %"),
        (4e-4, "< 0.1 %"),
        (-4e-4, "> −0.1 %"),
        (1.0, "100 %"),
        (1 - 1e-16, "100 %"),
        (0.99999, "> 99.9 %"),
        (0.9999999995, "> 99.9 %"),
        (5e-10, "< 0.1 %"),
        (1.303, "130.3 %"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_percent_never_hides_a_value(fraction, printed):
    assert numbers.percent(fraction).replace("\u00a0", " ") == printed


@pytest.mark.parametrize(
    ("share", "printed"), [(0.27, "+27.0 %"), (-0.27, "−27.0 %"), (4e-4, "< +0.1 %"), (0.0, "0 %")]
)
def test_shares_carry_their_sign(share, printed):
    assert numbers.signed_percent(share).replace("\u00a0", " ") == printed


@pytest.mark.parametrize("value", [0.0, 0.001, -0.2, 0.0897, -0.0004, 0.99999, 1 - 5e-10, 5e-10, 1.0, 0.5])
def test_numbers_are_printed_as_in_the_narratives(value):
    placeholders = pytest.importorskip("precompute.narratives.placeholders")
    assert numbers.percent(value) == placeholders._number(value, "percent")
    assert numbers.signed_percent(value) == placeholders._number(value, "signed_percent")
    assert numbers.decimal(12.3 * value) == placeholders._number(12.3 * value, "decimal")


def test_other_numbers():
    assert numbers.count(1408) == "1,408"
    assert numbers.plural(1, "class", "classes") == "1\u00a0class"
    assert numbers.plural(1408, "concept") == "1,408\u00a0concepts"
    assert numbers.significant(12345.678) == "12,346"
    assert numbers.significant(-0.012345) == "−0.0123"
    assert numbers.significant(1.5e-7) == "1.50\u00a0×\u00a010⁻⁷"
    assert numbers.width(1.7) == "100.00%"
    assert numbers.width(-1) == "0.00%"
    assert numbers.width(math.nan) == "0.00%"
