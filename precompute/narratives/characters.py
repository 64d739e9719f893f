"""The characters of a claim's prose: none that is invisible, foreign, markup, a digit, or changes how a number reads.

Owns what holds in every language. Must not know claims, tables or lexicons.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator

GAP = "\u25a1"
"""Stands for a placeholder in the prose that the patterns see."""

_MARKUP = re.compile(
    r"[<>`|\\\[\]]|\*\*|__|~~|^\s*(?:#|[-*+]\s|>)|&\w*;|&#|(?:https?|ftp|javascript|data|mailto):|www\.|\S@\S"
)
_QUOTES = re.compile('["\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a\u2018]')
_SIGN_BEFORE = re.compile(rf"[-\u2010-\u2013\u2212]\s*{GAP}")


def character_faults(text: str, typed: str, numeric: Collection[int], *, latin: bool) -> Iterator[tuple[str, str]]:
    """Find characters that no statement may hold.

    Parameters
    ----------
    text : str
        Normalised prose with `GAP` for each placeholder.
    typed : str
        What was typed, as it was.
    numeric : collection of int
        Positions in `text` of the placeholders that are printed as numbers.
    latin : bool
        Whether all letters have to be Latin.

    Yields
    ------
    tuple of str
        Code and message.
    """
    if found := next((char for char in text if char != GAP and unicodedata.category(char)[0] == "C"), ""):
        yield "characters", f"the text holds the control or invisible character U+{ord(found):04X}"
    if markup := _MARKUP.search(text):
        yield "markup", f"the text holds markup or an address: {markup[0]!r}"
    if digit := next((char for char in typed if _is_digit(char)), ""):
        yield "digit", f"the text holds {digit!r}: numbers are put in by placeholders only"
    if latin and (foreign := next((c for c in text if c.isalpha() and "LATIN" not in unicodedata.name(c, "")), "")):
        yield "script", f"the letter {foreign!r} is not of the alphabet of the language"
    if quote := _QUOTES.search(typed):
        yield "quote", f"the text holds {quote[0]!r}: quotes belong to names, which placeholders put in"
    yield from _beside_numbers(text, typed, numeric)


def _beside_numbers(text: str, typed: str, numeric: Collection[int]) -> Iterator[tuple[str, str]]:
    """Find signs of arithmetic, a dash that reads as a sign, and what is joined to a number without a space."""
    symbol = next((char for char in typed if unicodedata.category(char) in ("Sm", "Sc") and char not in "<>|"), "")
    dash = any(found.end() - 1 in numeric for found in _SIGN_BEFORE.finditer(text))
    if symbol or dash:
        yield (
            "symbol",
            f"{symbol or 'a dash'!r} changes how a number reads; placeholders print the sign",
        )
    for position in numeric:
        beside = text[max(position - 1, 0) : position] + text[position + 1 : position + 2]
        if any(char.isalpha() or char == GAP for char in beside):
            yield "number_joined", "a number is joined to what stands beside it: leave a space"
            return


def _is_digit(char: str) -> bool:
    return unicodedata.category(char) in ("Nd", "Nl", "No") or char in "%\u2030\u2031\u066a\ufe6a\uff05"
