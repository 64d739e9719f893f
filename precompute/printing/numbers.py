"""How every number is printed that a reader meets, on pages, in narratives and in the evidence of names.

Owns precision, signs, bounds for what would round to 0 or to all, and the words for no value; the decimal and grouping
marks of each language are Babel's. Must not know records, pages or sentences. Numbers for machines (JSON, CSV, style
sheets, SVG) are not printed here.
"""

from __future__ import annotations

import math
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.numbers import format_decimal

NO_BREAK = "\u00a0"
MINUS = "\u2212"
UNKNOWN = "–"
"""Stands where there is no value: None, not a number, or infinite."""
NOISE = 1e-12
"""Sums of shares are off by rounding: 1 - 1e-16 is printed as 100 %."""
ENGLISH = "en"
_PERCENT = f"{NO_BREAK}%"


def percent(fraction: float | None, language: str = ENGLISH, decimals: int = 1) -> str:
    """Print a fraction as percent; a value that is neither 0 nor 100 % is never printed as that.

    Examples: ``0.0897`` gives ``9.0 %``, ``4e-4`` gives ``< 0.1 %``, ``-4e-4`` gives ``> −0.1 %``.

    Parameters
    ----------
    fraction : float or None
        1 is 100 %.
    language : str
        Code such as ``de`` or ``de-CH``; one that Babel does not know has English marks.
    decimals : int
    """
    return _percent(fraction, "", language, decimals)


def probability(value: float | None, language: str = ENGLISH, decimals: int = 1) -> str:
    """Print a probability as `percent` does; it is no sum, so that only 0 itself is 0 % and only 1 itself 100 %.

    Examples: ``1e-13`` gives ``< 0.1 %``.
    """
    return _percent(value, "", language, decimals, noise=0.0)


def signed_percent(fraction: float | None, language: str = ENGLISH) -> str:
    """Print a signed share as `percent` does, with a plus sign where it is positive."""
    return _percent(fraction, "+", language)


def decimal(value: float | None, language: str = ENGLISH) -> str:
    """Print a relevance or a logit with two decimals; 0 as ``0``, what would round to 0 as a bound."""
    if value is not None and abs(value) <= NOISE:
        return "0"
    return _bounded(value, 1, 2, language)


def fixed(value: float | None, decimals: int = 2, language: str = ENGLISH) -> str:
    """Print a value between -1 and 1, such as a confidence or a score; only 0 is printed as 0, and only 1 as 1."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if abs(value) <= NOISE:
        return _marked(f"{0:.{decimals}f}", language)
    return _bounded(value, 1, decimals, language, whole=1.0)


def significant(value: float | None, digits: int = 3, language: str = ENGLISH) -> str:
    """Print a measured value, such as an activation, with `digits` significant digits."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{abs(value):.{digits - 1}e}".partition("e")
    sign = MINUS if value < 0 else ""
    if -3 <= int(exponent) < 5:
        return sign + _marked(f"{abs(value):.{max(0, digits - 1 - int(exponent))}f}", language)
    return f"{sign}{_marked(mantissa, language)}{NO_BREAK}×{NO_BREAK}10{_superscript(int(exponent))}"


def with_error(value: float | None, error: float | None, digits: int = 3, language: str = ENGLISH) -> str:
    """Print a measured value as `significant` does, and behind ± its error with the decimals of the value.

    Examples: ``1.2512, 0.1093`` gives ``1.25 ± 0.11``.
    """
    printed = significant(value, digits, language)
    if value is None or error is None or not (math.isfinite(value) and math.isfinite(error)):
        return f"{printed} ± {significant(error, digits, language)}"
    exponent = int(f"{abs(value):.{digits - 1}e}".partition("e")[2])
    if value == 0 or not -3 <= exponent < 5:
        return f"{printed} ± {significant(error, digits, language)}"
    return f"{printed} ± {_bounded(error, 1, max(0, digits - 1 - exponent), language) if error else '0'}"


def count(value: float | None, language: str = ENGLISH) -> str:
    """Print a number of things, grouped from a thousand on: ``1,408``."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return ("" if value >= 0 else MINUS) + _whole(abs(int(value)), language)


def rank(value: int) -> str:
    """Print a rank or a channel: a place in a list, never grouped; it counts from 0, as in the records and the data."""
    return str(int(value))


def plural(value: int, one: str, many: str = "") -> str:
    """Print a count and its English noun: ``1 concept``, ``1,408 concepts``."""
    return f"{count(value)}{NO_BREAK}{one if value == 1 else many or one + 's'}"


def _percent(fraction: float | None, plus: str, language: str, decimals: int = 1, *, noise: float = NOISE) -> str:
    if fraction is None or not math.isfinite(fraction):
        return UNKNOWN
    if abs(fraction) <= noise:
        return f"0{_PERCENT}"
    if abs(abs(fraction) - 1) <= noise:
        return f"{MINUS if fraction < 0 else plus}100{_PERCENT}"
    return _bounded(fraction, 100, decimals, language, whole=1.0, plus=plus, noise=noise) + _PERCENT


def _bounded(
    value: float | None,
    scale: float,
    decimals: int,
    language: str,
    *,
    whole: float = math.inf,
    plus: str = "",
    noise: float = NOISE,
) -> str:
    """Print `scale` times a value that is not 0; as a bound where that would look like 0, or like all of it."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    sign = MINUS if value < 0 else plus
    toward_zero, away = ("<", ">") if value > 0 else (">", "<")
    step = 10.0**-decimals
    text, bound = f"{scale * abs(value):.{decimals}f}", ""
    if float(text) == 0:
        text, bound = f"{step:.{decimals}f}", f"{toward_zero}{NO_BREAK}"
    elif float(text) == scale * whole and abs(value) < whole - noise:
        text, bound = f"{scale * whole - step:.{decimals}f}", f"{away}{NO_BREAK}"
    return f"{bound}{sign}{_marked(text, language)}"


def _marked(digits: str, language: str) -> str:
    """Give plain digits such as ``1408.50`` the marks of a language."""
    whole, _, rest = digits.partition(".")
    return _whole(int(whole), language) + (_decimal_mark(language) + rest if rest else "")


@lru_cache(maxsize=4096)
def _whole(value: int, language: str) -> str:
    return format_decimal(value, locale=_locale(language))


@lru_cache
def _decimal_mark(language: str) -> str:
    return str(_locale(language).number_symbols["latn"]["decimal"])


@lru_cache
def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language.replace("_", "-"), sep="-")
    except (ValueError, UnknownLocaleError):
        return Locale(ENGLISH)


def _superscript(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
