"""How far a name can be trusted: the only place that says what is shown beside it.

Owns the measured hit rates of namers on the built-in world, where the right answer is known, and their words. A namer's
own claim is never shown: it only tells which band of measured names a name belongs to. Where nothing was measured,
nothing is said. Must not know pages, models or how names are made.
"""

from __future__ import annotations

from dataclasses import dataclass

from .named import Author, ConceptName, ConceptScore


@dataclass(frozen=True)
class Band:
    """Names of one namer that claim about the same, and how many of them said the true part.

    Attributes
    ----------
    at_least : float
        Lowest claim of the band; it ends where the next one begins.
    n_right, n_names : int
        On the built-in world, of the concepts with a part (`python -m benchmarks.world_names`).
    """

    at_least: float
    n_right: int
    n_names: int

    @property
    def rate(self) -> float:
        """Share of the names that were right."""
        return self.n_right / self.n_names


CLAIM_EDGES = (0.9, 0.7, 0.5, 0.0)
"""Where bands of claims begin, the surest first: what is measured of names is told by them."""

MEASURED: dict[Author, tuple[Band, ...]] = {
    Author("recorded", "claude"): (Band(0.9, 172, 172), Band(0.7, 100, 125), Band(0.5, 23, 44), Band(0.0, 15, 41)),
}
"""By namer, the surest band first."""

MARKS = Band(0.0, 52, 58)
"""Of the offline namer only marks are names; all else that it says describes measurements (0 of 324 said the part)."""


def measured_band(name: ConceptName) -> Band | None:
    """Return the band that a name belongs to; None where nothing was measured, or where a person named."""
    if not name.is_named:
        return None
    if name.by.kind == "offline":
        return MARKS if name.kind == "mark" else None
    return next((band for band in MEASURED.get(name.by, ()) if name.confidence >= band.at_least), None)


def is_description(name: ConceptName) -> bool:
    """Tell whether what stands for a name only describes measurements: it says no part more often than chance."""
    return name.is_named and name.by.kind == "offline" and name.kind != "mark"


def reliability_words(name: ConceptName) -> str:
    """Say what is known of how often such names are right; empty where nothing is.

    Examples: "of 125 names given with this confidence 100 were right on the built-in world".
    """
    if is_description(name):
        return "describes measurements; not tested as a name"
    band = measured_band(name)
    if band is None:
        return ""
    given = "marks found in this way" if name.by.kind == "offline" else "names given with this confidence"
    return f"of {band.n_names} {given} {band.n_right} were right on the built-in world"


NO_NAME_HOLDS = "no name holds: from the name alone its images were never found"


def choice_words(score: ConceptScore) -> str:
    """Say what the forced choices of a name came to; empty where there were too few to say anything.

    One choice alone says nothing: guessing finds the right row one time in four.
    """
    asked = {choice.against: choice for choice in score.choices}
    random, hard = asked.get("random"), asked.get("hard")
    if random is None or random.n_asked < 2:
        return ""
    if random.n_right == 0 and (hard is None or hard.n_right == 0):
        return NO_NAME_HOLDS
    if random.n_right < random.n_asked:
        return "the name finds its images sometimes"
    if hard is not None and hard.n_asked >= 2 and hard.n_right == hard.n_asked:
        return "the name finds its images, also among those most like them"
    return "the name finds its images among random ones"
