"""Measures of how well a name tells positives from negatives, and of how well two names agree.

Owns pure functions of numbers and texts. Must not know references, judges or files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

_WORD = re.compile(r"[^\W_]+")
_EMPTY_WORDS = frozenset(
    _WORD.findall(
        "a an the of in on at to and or with by for from is are its it that this as some several many each every "
        "very often mostly usually can be seen shows show image images picture pictures"
    )
)


def average_precision(probabilities: Sequence[float], positive: Sequence[bool]) -> float:
    """Compute the area under the precision-recall curve as average precision.

    The sum over distinct thresholds, from high to low, of precision times the gain in recall; equal probabilities
    pass a threshold together, so their order does not matter.

    Parameters
    ----------
    probabilities : (n,) float
    positive : (n,) bool

    Raises
    ------
    ValueError
        Nothing is positive, or the lengths differ.
    """
    scores, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(positive, dtype=bool)
    if scores.shape != truth.shape or not truth.any():
        raise ValueError(f"average precision of {scores.shape} scores and {int(truth.sum())} positives")
    order = np.argsort(-scores, kind="stable")
    scores, truth = scores[order], truth[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    hits = np.cumsum(truth)[last_of_ties]
    precision = hits / (last_of_ties + 1)
    gain = np.diff(hits, prepend=0) / truth.sum()
    return float((precision * gain).sum())


def f1_score(probabilities: Sequence[float], positive: Sequence[bool], threshold: float = 0.5) -> float:
    """Compute F1 of "probability >= threshold"; 0 where nothing is said and nothing is hit."""
    said = np.asarray(probabilities, dtype=np.float64) >= threshold
    truth = np.asarray(positive, dtype=bool)
    n_hits = int((said & truth).sum())
    return 2 * n_hits / max(int(said.sum()) + int(truth.sum()), 1)


def name_agreement(first: tuple[str, str], second: tuple[str, str]) -> float:
    """Say how well two (name, description) pairs agree, 0 to 1, by their content words.

    The mean of two Dice coefficients: of the words of the names, and of the words of names and descriptions
    together. Case, articles and plural endings do not count. Synonyms count as different, so this is a lower bound.
    """
    names = _dice(_words(first[0]), _words(second[0]))
    everything = _dice(_words(" ".join(first)), _words(" ".join(second)))
    return (names + everything) / 2


def _words(text: str) -> frozenset[str]:
    words = (word for word in _WORD.findall(text.casefold()) if word not in _EMPTY_WORDS)
    return frozenset(_singular(word) for word in words)


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word


def _dice(first: frozenset[str], second: frozenset[str]) -> float:
    if not first and not second:
        return 0.0
    return 2 * len(first & second) / (len(first) + len(second))
