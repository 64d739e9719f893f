"""How every number of the site is printed: the only module that turns a number into text.

Owns precision, signs, thousands separators and the words for tiny values. Must not know records or pages.
"""

from __future__ import annotations

import math

NO_BREAK = "\u00a0"
MINUS = "\u2212"
UNKNOWN = "–"
SMALLEST_PERCENT = 0.1


def percent(fraction: float | None) -> str:
    """Print a fraction as percent with one decimal; tiny ones as a bound, so that nothing reads as zero that is not.

    Examples: ``8.97e-2`` gives ``9.0 %``, ``4e-4`` gives ``< 0.1 %``, ``-4e-4`` gives ``> −0.1 %``.
    """
    if fraction is None or not math.isfinite(fraction):
        return UNKNOWN
    value = 100 * fraction
    if value == 0:
        return f"0{NO_BREAK}%"
    if abs(value) < SMALLEST_PERCENT / 2:
        bound = f"{SMALLEST_PERCENT}{NO_BREAK}%"
        return f"<{NO_BREAK}{bound}" if value > 0 else f">{NO_BREAK}{MINUS}{bound}"
    return f"{_signed(f'{value:.1f}')}{NO_BREAK}%"


def significant(value: float | None, digits: int = 3) -> str:
    """Print a measured value with `digits` significant digits and a true minus sign."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
        return _signed(f"{value:,.{decimals}f}")
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{_signed(mantissa)}{NO_BREAK}×{NO_BREAK}10{_superscript(int(exponent))}"


def fixed(value: float | None, decimals: int = 2) -> str:
    """Print a value between 0 and 1, such as a confidence or a score, with fixed decimals."""
    return UNKNOWN if value is None or not math.isfinite(value) else _signed(f"{value:.{decimals}f}")


def count(value: int) -> str:
    """Print a number of things, with commas from a thousand on."""
    return _signed(f"{int(value):,}")


def rank(value: int) -> str:
    """Print a rank for people: the records count from 0, the pages from 1."""
    return str(int(value) + 1)


def plural(value: int, one: str, many: str = "") -> str:
    """Print a count and its noun: ``1 concept``, ``1,408 concepts``."""
    return f"{count(value)}{NO_BREAK}{one if value == 1 else many or one + 's'}"


def width(fraction: float) -> str:
    """Print the length of a bar as a CSS percentage, kept between 0 and 100."""
    bounded = min(max(fraction, 0.0), 1.0) if math.isfinite(fraction) else 0.0
    return f"{100 * bounded:.2f}%"


def coordinate(value: float) -> str:
    """Print an SVG coordinate, short and always the same."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _signed(text: str) -> str:
    return MINUS + text[1:] if text.startswith("-") else text


def _superscript(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
