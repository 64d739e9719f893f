import ast
import math
import re
from pathlib import Path

import numpy as np
import pytest

from precompute.naming.traits import COLOURS, find_colour
from precompute.narratives.wording import Slots, find_wording
from precompute.printing import numbers
from precompute.records import Quantity
from sitegen import charts
from sitegen.render import make_environment

ROOT = Path(__file__).parents[1]


def plain(text):
    return text.replace(numbers.NO_BREAK, " ")


@pytest.mark.parametrize(
    ("fraction", "printed"),
    [
        (0.0, "0 %"),
        (0.004, "0.4 %"),
        (0.0897, "9.0 %"),
        (0.4062, "40.6 %"),
        (-0.25, "−25.0 %"),
        (4e-4, "< 0.1 %"),
        (-4e-4, "> −0.1 %"),
        (1.0, "100 %"),
        (1 - 1e-16, "100 %"),
        (0.99999, "> 99.9 %"),
        (-0.99999, "< −99.9 %"),
        (0.9999999995, "> 99.9 %"),
        (5e-10, "< 0.1 %"),
        (1.303, "130.3 %"),
        (14.08, "1,408.0 %"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
        (-math.inf, "–"),
    ],
)
def test_percent_never_hides_a_value(fraction, printed):
    assert plain(numbers.percent(fraction)) == printed


@pytest.mark.parametrize(
    ("share", "printed"), [(0.27, "+27.0 %"), (-0.27, "−27.0 %"), (4e-4, "< +0.1 %"), (0.0, "0 %"), (math.nan, "–")]
)
def test_shares_carry_their_sign(share, printed):
    assert plain(numbers.signed_percent(share)) == printed


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0.0, "0"), (1e-13, "0"), (0.004, "< 0.01"), (-0.004, "> −0.01"), (11.2, "11.20"), (-11.2, "−11.20"),
        (1408, "1,408.00"), (math.nan, "–"), (math.inf, "–"), (None, "–"),
    ],
)  # fmt: skip
def test_a_logit_has_two_decimals(value, printed):
    assert plain(numbers.decimal(value)) == printed


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0.0, "0.00"), (1.0, "1.00"), (0.004, "< 0.01"), (0.997, "> 0.99"), (0.5, "0.50"), (-0.35, "−0.35"),
        (math.nan, "–"), (None, "–"),
    ],
)  # fmt: skip
def test_a_score_is_printed_as_none_or_all_only_where_it_is(value, printed):
    assert plain(numbers.fixed(value)) == printed


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0.0, "0"), (12345.678, "12,346"), (-0.012345, "−0.0123"), (0.99996, "1.00"), (0.004, "0.00400"),
        (1.5e-7, "1.50 × 10⁻⁷"), (-1e9, "−1.00 × 10⁹"), (99999.9, "1.00 × 10⁵"), (math.nan, "–"), (-math.inf, "–"),
    ],
)  # fmt: skip
def test_an_activation_has_significant_digits(value, printed):
    assert plain(numbers.significant(value)) == printed


@pytest.mark.parametrize(("value", "printed"), [(7, "7"), (1408, "1,408"), (-1408, "−1,408"), (math.nan, "–")])
def test_counts_are_grouped(value, printed):
    assert numbers.count(value) == printed


def test_a_count_and_its_noun_agree():
    assert plain(numbers.plural(1, "class", "classes")) == "1 class"
    assert plain(numbers.plural(1408, "concept")) == "1,408 concepts"


@pytest.mark.parametrize(
    ("language", "share", "logit", "things"),
    [
        ("en", "< 0.1 %", "1,408.50", "1,234,567"),
        ("de", "< 0,1 %", "1.408,50", "1.234.567"),
        ("de-CH", "< 0.1 %", "1’408.50", "1’234’567"),
        ("fr", "< 0,1 %", "1\u202f408,50", "1\u202f234\u202f567"),
        ("hi", "< 0.1 %", "1,408.50", "12,34,567"),
        ("no such language", "< 0.1 %", "1,408.50", "1,234,567"),
    ],
)
def test_each_language_has_its_own_marks(language, share, logit, things):
    assert plain(numbers.percent(4e-4, language)) == share
    assert plain(numbers.decimal(1408.5, language)) == logit
    assert plain(numbers.count(1234567, language)) == things


def test_pages_narratives_and_names_print_the_same_value_alike():
    page = make_environment().from_string("{{ value | percent }}").render(value=0.004)
    narrative = find_wording("en", "expert", 1).printed(Quantity("share", (), 0.004))
    appearance = _Appearance(np.eye(len(COLOURS))[0] * 0.996 + 0.004 / len(COLOURS))
    trait = find_colour([appearance] * 4)
    assert page == narrative == numbers.percent(0.004)
    assert f"{numbers.percent(0.996 + 0.004 / len(COLOURS))} of the visible pixels" in trait.sentence


class _Appearance:
    def __init__(self, colours):
        self.colours = colours


def test_a_count_in_a_narrative_is_grouped_as_on_a_page():
    for language, printed in (("en", "1,408"), ("de", "1.408")):
        wording, slots = find_wording(language, "expert", 1), Slots()
        count = wording.number(slots, Quantity("n_channels", (), 1408, "count"))
        text = wording.format("column-rival", {"runner_up": count})
        assert printed in "".join(piece.text for piece in slots.pieces(text))


def test_no_other_module_formats_a_number_for_readers():
    """A format such as ``:.0%`` or ``:,`` rounds to 0 or all and knows no language; constants are not measured."""
    found = []
    for path in sorted([*ROOT.glob("precompute/**/*.py"), *ROOT.glob("sitegen/**/*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FormattedValue) and not re.fullmatch(r"[A-Z_]+", ast.unparse(node.value)):
                parts = node.format_spec.values if isinstance(node.format_spec, ast.JoinedStr) else ()
                texts = [part.value for part in parts if isinstance(part, ast.Constant)]
                found += [(str(path.relative_to(ROOT)), text) for text in texts if re.search(r"%$|^,", text)]
    assert found == []


def test_bars_stay_within_their_frame():
    assert charts.width(1.7) == "100.00%"
    assert charts.width(-1) == "0.00%"
    assert charts.width(math.nan) == "0.00%"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 %"), (1e-30, "< 0.1 %"), (1e-12, "< 0.1 %"), (0.5, "50.0 %"), (1 - 1e-15, "> 99.9 %"), (1.0, "100 %")],
)
def test_a_probability_is_0_or_1_only_where_it_is(value, text):
    assert numbers.probability(value).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("value", "error", "printed"),
    [
        (1.2512, 0.1093, "1.25 ± 0.11"),
        (0.0517, 0.0109, "0.0517 ± 0.0109"),
        (0.5, 0.0001, "0.500 ± < 0.001"),
        (12.34, 0.0, "12.3 ± 0"),
        (0.0, 0.0123, "0 ± 0.0123"),
        (9.999, 0.5, "10.0 ± 0.5"),
        (None, 0.1, "– ± 0.100"),
        (0.5, None, "0.500 ± –"),
    ],
)
def test_an_error_has_the_decimals_of_its_value(value, error, printed):
    assert plain(numbers.with_error(value, error)) == printed
