"""What a language brings to a narrative: number marks, quotes, sentences, and the words that the checks look for.

Owns the record of a language. Must not know tables or models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_PLACE_WORDS = {
    "top": "upper", "bottom": "lower", "center": "centre", "middle": "centre", "central": "centre",
    "entire": "whole", "full": "whole", "everywhere": "whole", "all": "whole",
}  # fmt: skip
_PLACES = ("whole", "upper", "lower", "left", "right", "centre")


def place_tokens(words: str) -> frozenset[str]:
    """Reduce the words of a place to the known ones: whole, upper, lower, left, right, centre."""
    found = (_PLACE_WORDS.get(word, word) for word in re.findall(r"[a-z]+", words.lower()))
    return frozenset(word for word in found if word in _PLACES)


def near(noun: str) -> str:
    """Make the pattern of a noun with a placeholder behind it, few words and at most one placeholder between."""
    word = r" (?!and\b|und\b)\w+"
    return rf"{noun}(?:{word}){{0,3}}(?: \u25a1)?(?:{word}){{0,2}} \u25a1"


@dataclass(frozen=True)
class Lexicon:
    """Word patterns of one language for the checks; each is matched as whole words, ignoring case.

    A placeholder in the text is seen as U+25A1.

    Attributes
    ----------
    numerals : tuple of str
        Numbers, fractions and multiples in words.
    quantities : tuple of str
        Amounts without a number, and sweeping words, that no table entry can back.
    bounds : tuple of str
        Words that make a bound of the number after them.
    superlatives, lowest : tuple of str
        Claims to be the strongest, and to be the weakest.
    more, less, equal : tuple of str
        Comparisons of shares.
    other_measures : tuple of str
        Words that make a comparison one of something else than shares.
    supporting, opposing : tuple of str
        Words for a share with the sign of the logit, and for one with the other.
    negations : tuple of str
    places : mapping of str to str
        Pattern to place token; an empty token stands for a place that tables never hold.
    causes, minds : tuple of str
        Causal wording, and wording that gives the network a mind.
    certainties : tuple of str
        Wording that knows what the photo holds, or whether the class is right.
    assertions : tuple of str
        Sentences that end in a placeholder and say, where it is a class, that the photo or a concept is of it.
    measures : mapping of str to tuple of str
        Pattern that ends before or begins with a placeholder, to the fields that may stand there.
    class_words : tuple of str
        What a class is called.
    mark_words : tuple of str
        What is said of concepts that are named as marks, and of no other.
    photo_words : tuple of str
        What an area must be said to be a part of.
    function_words : frozenset of str
        Frequent small words, to tell the language of a text.
    """

    numerals: tuple[str, ...]
    quantities: tuple[str, ...]
    bounds: tuple[str, ...]
    superlatives: tuple[str, ...]
    lowest: tuple[str, ...]
    more: tuple[str, ...]
    less: tuple[str, ...]
    equal: tuple[str, ...]
    other_measures: tuple[str, ...]
    supporting: tuple[str, ...]
    opposing: tuple[str, ...]
    negations: tuple[str, ...]
    places: Mapping[str, str]
    causes: tuple[str, ...]
    minds: tuple[str, ...]
    certainties: tuple[str, ...]
    assertions: tuple[str, ...]
    measures: Mapping[str, tuple[str, ...]]
    class_words: tuple[str, ...]
    mark_words: tuple[str, ...]
    photo_words: tuple[str, ...]
    function_words: frozenset[str]


@dataclass(frozen=True)
class Language:
    """One language of narratives.

    Attributes
    ----------
    code : str
        For example ``en``.
    quotes : tuple of str
        Opening and closing.
    unnamed, mixed, namesake : str
        Formats for a concept without a name (`channel`, `layer`), for one with two (`first`, `second`), and for one
        that shares its name with another (`name`, `channel`).
    list_end : str
        Before the last item of a list.
    place_phrases : mapping of str to str
        From sorted place tokens, joined by a space, to a phrase.
    other_place : str
        Format of the phrase for a place in other words (`words`).
    sentences : mapping of str to str
        Of the generated narratives, by name; empty where there are none in this language.
    lexicon : Lexicon or None
        None where the lexical checks do not exist in this language: then only the structural ones hold.
    """

    code: str
    quotes: tuple[str, str]
    unnamed: str
    mixed: str
    namesake: str
    list_end: str
    place_phrases: Mapping[str, str]
    other_place: str
    sentences: Mapping[str, str]
    lexicon: Lexicon | None = None

    def quote(self, text: str) -> str:
        """Put a name in quotes: on one line, at most 80 characters, its own double quotes made single."""
        line = re.sub(r"[\"\u201c\u201d\u201e\u00ab\u00bb]", "'", " ".join(text.split()))
        short = line if len(line) <= 80 else line[:79] + "\u2026"
        return f"{self.quotes[0]}{short}{self.quotes[1]}"

    def place(self, words: str) -> str:
        """Turn the words of a place into a phrase such as "in the upper left"."""
        phrase = self.place_phrases.get(" ".join(sorted(place_tokens(words))))
        return phrase or self.other_place.format(words=self.quote(words))

    def join(self, items: list[str]) -> str:
        """Join items into a list in prose."""
        return self.list_end.join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)
