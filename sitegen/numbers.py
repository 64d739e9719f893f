"""How every number of the site is printed: the only module that turns a number into text.

Owns precision, signs, thousands separators and the words for tiny values. Must not know records or pages.
"""

from __future__ import annotations

import math

NO_BREAK = "\u00a0"
MINUS = "\u2212"
UNKNOWN = "–"
NOISE = 1e-12
"""Sums of shares are off by rounding: 1 - 1e-16 is printed as 100 %."""


def percent(fraction: float | None) -> str:
    """Print a fraction as percent with one decimal; a value that is neither 0 nor 100 % is never printed as that.

    Examples: ``0.0897`` gives ``9.0 %``, ``4e-4`` gives ``< 0.1 %``, ``-4e-4`` gives ``> −0.1 %``.
    """
    return _percent(fraction, "")


def signed_percent(fraction: float | None) -> str:
    """Print a signed share as `percent` does, with a plus sign where it is positive."""
    return _percent(fraction, "+")


def _percent(fraction: float | None, plus: str) -> str:
    if fraction is None or not math.isfinite(fraction):
        return UNKNOWN
    size = abs(fraction)
    if size <= NOISE:
        return f"0{NO_BREAK}%"
    sign = MINUS if fraction < 0 else plus
    if abs(size - 1) <= NOISE:
        return f"{sign}100{NO_BREAK}%"
    text, bound = f"{100 * size:.1f}", ""
    if text == "0.0":
        text, bound = "0.1", f"{'<' if fraction > 0 else '>'}{NO_BREAK}"
    elif text == "100.0" and size < 1:
        text, bound = "99.9", f"{'>' if fraction > 0 else '<'}{NO_BREAK}"
    return f"{bound}{sign}{text}{NO_BREAK}%"


def decimal(value: float | None) -> str:
    """Print a relevance or a logit with two decimals, the precision of the narratives; tiny ones as a bound."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    text = f"{abs(value):.2f}"
    if text == "0.00" and abs(value) > NOISE:
        return f"<{NO_BREAK}0.01" if value > 0 else f">{NO_BREAK}{MINUS}0.01"
    return "0" if text == "0.00" else _signed(f"{'-' if value < 0 else ''}{text}")


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
    """Print a rank; it counts from 0, as in the records, the narratives and the data for download."""
    return str(int(value))


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
