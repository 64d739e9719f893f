"""Names and classes that were typed into a text instead of being put in.

Owns how words are compared: without case, accents and the "s" of a plural. Must not know claims or lexicons.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from precompute.explanations.table import ExplanationTable

from .languages import KNOWN_LANGUAGES


def typed_names(text: str, table: ExplanationTable, code: str) -> Iterator[tuple[str, str]]:
    """Find names and classes in a text; the words of the generated sentences are free to use.

    Yields
    ------
    tuple of str
        The words found, and whose they are: a concept's id, ``class``, ``other class`` or ``other name``.
    """
    words, free = _stems(text), _vocabulary(code)
    known = _typed_names(table)
    for start in range(len(words)):
        for end in range(start + 1, min(start + _longest(table), len(words)) + 1):
            phrase = tuple(words[start:end])
            owner = known.get(phrase)
            if owner is not None and not free.issuperset(phrase):
                yield " ".join(phrase), owner


@lru_cache(maxsize=16)
def _typed_names(table: ExplanationTable) -> dict[tuple[str, ...], str]:
    """Every name that must not be typed, in words, with whose it is; the table's own names come first."""
    known: dict[tuple[str, ...], str] = {}
    for row in table.concepts:
        for name in (row.name.name, row.name.second_name) if row.name else ():
            known.setdefault(tuple(_stems(name)), row.id)
    for owner, classes in (("class", (table.class_name, table.runner_up)), ("other class", table.other_classes)):
        for part in sorted(part for name in classes for part in name.split(",")):
            known.setdefault(tuple(_stems(part)), owner)
    for name in sorted(table.other_names):
        known.setdefault(tuple(_stems(name)), "other name")
    known.pop((), None)
    return {words: owner for words, owner in known.items() if any(len(word) > 2 for word in words)}


@lru_cache(maxsize=16)
def _longest(table: ExplanationTable) -> int:
    return max(map(len, _typed_names(table)), default=0)


@lru_cache(maxsize=8)
def _vocabulary(code: str) -> frozenset[str]:
    known = KNOWN_LANGUAGES.get(code)
    sentences = known.sentences.values() if known else ()
    return frozenset(word for sentence in sentences for word in _stems(re.sub(r"\{[^}]*\}|\$\w+", " ", sentence)))


def _stems(text: str) -> list[str]:
    """Words without accents and without the "s" of a plural, so that a slightly changed name is found too."""
    plain = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return [word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words_of(plain)]


def words_of(text: str) -> list[str]:
    """List the words of a text in lower case."""
    return re.findall(r"[^\W_]+", text.casefold())
