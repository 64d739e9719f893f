"""Records of names: what concepts are called, and how well the names tell. Import them from `records`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConceptName:
    """What a namer called a concept: a hypothesis, not a fact.

    Attributes
    ----------
    concept : str
        Key ``layer:channel``.
    name, description : str
        Hostile until escaped; empty where `failure` is set.
    author : str
        ``offline``, ``llm:<model>`` or ``person:<who>``.
    kind : str
        object, part, texture, colour, scene, mark or other.
    confidence : float
        0 to 1, the namer's own. People state none: readers take `stated_confidence`.
    second_name : str
        Set where the references fall into two groups ("mixed: A / B").
    common : str
        What the reference images have in common.
    outliers : tuple of int
        Ranks of reference images that do not fit.
    evidence : tuple of str
        Facts that the name rests on (offline namer), one short sentence each.
    prompt_digest, raw_reply : str
        Kept for audit; empty for the offline namer and for people.
    failure : str
        Reason why there is no name; empty for success. A failed reply is never prose.
    date : str
        ISO date.
    row_digest : str
        Of the table row that a person's correction came from, so that the same row is taken once; empty otherwise.
    """

    concept: str
    name: str
    description: str
    author: str
    kind: str = "other"
    confidence: float = 0.0
    second_name: str = ""
    common: str = ""
    outliers: tuple[int, ...] = ()
    evidence: tuple[str, ...] = ()
    prompt_digest: str = ""
    raw_reply: str = ""
    failure: str = ""
    date: str = ""
    row_digest: str = ""

    @property
    def stated_confidence(self) -> float | None:
        """The namer's confidence; None where a person named, since a table of corrections asks for none."""
        return None if self.author.partition(":")[0] == "person" else self.confidence


@dataclass(frozen=True)
class ConceptScore:
    """How well a name tells a concept's held-out references from others.

    Attributes
    ----------
    concept : str
    auprc, f1 : float
        0 to 1.
    shuffled_auprc, shuffled_f1 : float
        The same with another concept's name: a baseline.
    constant_auprc, constant_f1 : float
        The same with one name for all: a baseline.
    stability : float or None
        Agreement of the names from disjoint halves of the references, 0 to 1; None where not measured.
    n_positive, n_negative : int
        Held-out images scored.
    author : str
        Who judged.
    failure : str
    """

    concept: str
    auprc: float = 0.0
    f1: float = 0.0
    shuffled_auprc: float = 0.0
    shuffled_f1: float = 0.0
    constant_auprc: float = 0.0
    constant_f1: float = 0.0
    stability: float | None = None
    n_positive: int = 0
    n_negative: int = 0
    author: str = ""
    failure: str = ""
