"""The check that free prose keeps to a closed list of words, and to sentences that hold for its table.

Owns what is taken out of a text before its words are looked up: the fixed phrases of the generated sentences, where
they are true, and the words that have a check of their own. Must not know kinds of claims or prompts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from precompute.explanations.table import ConceptRow, ExplanationTable

from .characters import GAP
from .language import Language
from .languages import KNOWN_LANGUAGES
from .vocabulary import PHRASES, WORDS

_SLOT = re.compile(r"\{[^}]*\}|\$\w+")
_MIN_WORDS = 3
"""Shorter pieces of generated sentences are no phrases: their words have to be known one by one."""


def unknown_words(text: str, rows: Sequence[ConceptRow], table: ExplanationTable, language: Language) -> list[str]:
    """List the words of a text that are not on the language's list.

    Parameters
    ----------
    text : str
        Prose with every placeholder replaced by U+25A1.
    rows : sequence of ConceptRow
        The concepts cited.
    table : ExplanationTable
    language : Language
        One with a lexicon.

    Returns
    -------
    list of str
        In their order; empty where all are known.
    """
    rest = strip_phrases(text, rows, table, language)
    rest = _compared(language.code).sub(lambda found: _between(found, 2), rest)
    rest = _checked(language.code).sub(_between, rest)
    words = re.findall(r"[^\W\d_]+(?:[-\u2010\u2011][^\W\d_]+)*", rest.lower())
    return [word for word in words if word not in WORDS[language.code]]


def strip_phrases(text: str, rows: Sequence[ConceptRow], table: ExplanationTable, language: Language) -> str:
    """Take out fixed phrases: those of the language, and those of generated sentences that hold for the table."""
    held = tuple(key for key in sorted(language.sentences) if _holds(key, rows, table))
    return _phrases(language.code, held).sub(" ", text)


@lru_cache(maxsize=256)
def _phrases(code: str, keys: tuple[str, ...]) -> re.Pattern[str]:
    pieces = {piece for key in keys for piece in _pieces(KNOWN_LANGUAGES[code].sentences[key])}
    longest_first = sorted(pieces, key=len, reverse=True)
    patterns = [re.sub(r"(?:\\\s|\s)+", r"\\s+", re.escape(piece)) for piece in longest_first]
    alternatives = [*patterns, *PHRASES[code]]
    return re.compile(rf"(?<!\w)(?:{'|'.join(alternatives)})(?!\w)", re.IGNORECASE)


def _pieces(sentence: str) -> Iterator[str]:
    """Cut a generated sentence at its slots; where only values are put in, the sentence as a whole counts too."""
    if "$items" not in sentence and "$where" not in sentence and "$subject" not in sentence:
        yield _SLOT.sub(GAP, sentence).strip(" .")
    for piece in _SLOT.split(sentence):
        bare = piece.strip(" ,;:.()")
        if len(bare.split()) >= _MIN_WORDS:
            yield bare


def _holds(key: str, rows: Sequence[ConceptRow], table: ExplanationTable) -> bool:
    """Whether a generated sentence may be said of a table; true where its slots and its kind already see to it."""
    if key.startswith("names_"):
        return _names_hold(key.rpartition("_")[2], rows, table)
    if key == "mark":
        return any(row.name and row.name.kind == "mark" for row in rows)
    if key == "plain_doubt":
        return table.probability < 0.5
    if key.endswith("_negative"):
        return table.logit < 0
    if key.endswith("_rival_above"):
        rival = table.runner_up_probability
        return rival is not None and rival > table.probability
    return True


def _names_hold(author: str, rows: Sequence[ConceptRow], table: ExplanationTable) -> bool:
    if author == "mixed":
        return any(row.name and row.name.second_name for row in rows)
    authors = [row.name.author.partition(":")[0] for row in rows or table.concepts if row.name]
    return all(found == author for found in authors) if rows else author in authors


def _between(found: re.Match[str], at_most: int = 4) -> str:
    """Give back what a long match has between its first and its last word: its pattern lets anything stand there."""
    words = found[0].split()
    return " ".join(words[1:-1]) if len(words) > at_most else " "


@lru_cache(maxsize=8)
def _checked(code: str) -> re.Pattern[str]:
    """Find words that have a check of their own."""
    lexicon = KNOWN_LANGUAGES[code].lexicon
    assert lexicon
    groups = (
        *lexicon.superlatives,
        *lexicon.equal,
        *lexicon.supporting,
        *lexicon.opposing,
        *lexicon.places,
        *lexicon.other_measures,
        *lexicon.photo_words,
        *lexicon.quantities,
    )
    return re.compile(rf"(?<!\w)(?:{'|'.join(groups)})(?!\w)", re.IGNORECASE)


@lru_cache(maxsize=8)
def _compared(code: str) -> re.Pattern[str]:
    """Find comparisons; what stands between their first and last word is not checked with them."""
    lexicon = KNOWN_LANGUAGES[code].lexicon
    assert lexicon
    return re.compile(rf"(?<!\w)(?:{'|'.join((*lexicon.more, *lexicon.less))})(?!\w)", re.IGNORECASE)
