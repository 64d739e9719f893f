"""Records of names: who gave them, what concepts are called, which name wins, and how well the names tell.

Owns what an author is, when a concept counts as named, what a name says, and the order person, language model,
recorded, program, offline. Knows no files. Import the records from `records`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from .values import Count, NameKind, Share

AuthorKind = Literal["offline", "program", "recorded", "llm", "person"]
"""Who gives names, from the one that yields to all others to the one that yields to nobody."""

_KINDS: tuple[AuthorKind, ...] = get_args(AuthorKind)


@dataclass(frozen=True)
class Author:
    """Who gave a name.

    Attributes
    ----------
    kind : {"offline", "program", "recorded", "llm", "person"}
        ``program``: a namer of a user's own. ``recorded``: a language model, at an earlier time; its names ship with
        the project.
    label : str
        The model, the person or the user's namer; empty for the offline namer. Untrusted until escaped.
    """

    kind: AuthorKind
    label: str = ""

    @classmethod
    def of_model(cls, model: str) -> Author:
        """Make the author of what a language model says.

        Names are published: a model named by its path, as on a server of one's own, is known by the last part alone.
        """
        is_path = model.startswith(("/", "~", ".", "\\")) or "\\" in model or model.count("/") > 1 or ":/" in model
        return cls("llm", re.split(r"[/\\]", model.rstrip("/\\"))[-1] if is_path else model)

    @classmethod
    def parse(cls, text: str, *, recorded: bool = False) -> Author:
        """Read the form in which records hold an author; raises ValueError where it is none."""
        kind, _, label = text.partition(":")
        if recorded and kind == "llm":
            return cls("recorded", label)
        for known in _KINDS:
            if kind == known and known != "recorded":
                return cls(known, label)
        raise ValueError(
            f"not an author: {text[:60]!r}, expected 'offline', 'program:<namer>', 'llm:<model>' or 'person:<who>'"
        )

    def __str__(self) -> str:
        """Write it as records hold it."""
        kind = "llm" if self.kind == "recorded" else self.kind
        return f"{kind}:{self.label}" if self.label else kind

    @property
    def weight(self) -> int:
        """Rank among authors: the name of the heavier one wins."""
        return _KINDS.index(self.kind)

    @property
    def words(self) -> str:
        """Say for people who named a concept."""
        named = {
            "offline": "named offline from labels and pictures",
            "program": "named by a program",
            "recorded": "named by a language model whose names ship with the project",
            "llm": "named by a language model",
            "person": "named by a person",
        }[self.kind]
        if self.kind == "person" and self.label:
            return f"named by {self.label}"
        return f"{named} ({self.label})" if self.label else named


@dataclass(frozen=True)
class LocalName:
    """A concept's name in one more language.

    Attributes
    ----------
    language : str
        Code such as ``de``.
    name, second_name : str
        As those of `ConceptName`. Untrusted until escaped.
    """

    language: str
    name: str
    second_name: str = ""


@dataclass(frozen=True)
class ConceptName:
    """What a namer called a concept: a hypothesis, not a fact.

    Attributes
    ----------
    concept : str
        Key ``layer:channel``.
    name, description : str
        Untrusted until escaped; empty where `failure` is set.
    author : str
        ``offline``, ``program:<namer>``, ``llm:<model>`` or ``person:<who>``; read it by `by`.
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
    recorded : bool
        Taken from the names that ship with the project: `author` gave it on `date`, before this atlas was made.
    language : str
        Code of the language of name and description, such as ``en``; empty where it is not known, as of what people
        type.
    local_names : tuple of LocalName
        The same in other languages, where the namer was asked for them: for texts in these languages.
    """

    concept: str
    name: str
    description: str
    author: str
    kind: NameKind = "other"
    confidence: Share = 0.0
    second_name: str = ""
    common: str = ""
    outliers: tuple[Count, ...] = ()
    evidence: tuple[str, ...] = ()
    prompt_digest: str = ""
    raw_reply: str = ""
    failure: str = ""
    date: str = ""
    row_digest: str = ""
    recorded: bool = False
    language: str = ""
    local_names: tuple[LocalName, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an author that nobody knows how to weigh."""
        Author.parse(self.author)

    @property
    def by(self) -> Author:
        """Who gave the name."""
        return Author.parse(self.author, recorded=self.recorded)

    @property
    def is_named(self) -> bool:
        """Whether the concept has a name: naming did not fail, and there is something to read."""
        return not self.failure and bool(self.name.strip())

    @property
    def title(self) -> str:
        """The name as it is shown: both where the references fall into two groups."""
        return f"mixed: {self.name} / {self.second_name}" if self.second_name else self.name

    def in_language(self, language: str) -> LocalName:
        """Return the names for a text in a language: those given in it, else those that there are, in theirs."""
        own = LocalName(self.language, self.name, self.second_name)
        return next((local for local in self.local_names if local.language == language), own)

    def all_names(self) -> tuple[str, ...]:
        """List every name, second ones and those in other languages too."""
        own = (LocalName(self.language, self.name, self.second_name), *self.local_names)
        return tuple(text for local in own for text in (local.name, local.second_name) if text.strip())

    @property
    def stated_confidence(self) -> float | None:
        """The namer's confidence; None where a person named, since a table of corrections asks for none."""
        return None if self.by.kind == "person" else self.confidence

    def says(self, words: Iterable[str]) -> bool:
        """Tell whether the name, or the second one, holds one of the words; see `says_one_of`."""
        return self.is_named and says_one_of(f"{self.name}, or {self.second_name}", words)


def says_one_of(text: str, words: Iterable[str]) -> bool:
    """Tell whether a text holds one of the words, in the singular or the plural, as a whole word."""
    return any(re.search(rf"\b{re.escape(word)}(s|es)?\b", text, re.IGNORECASE) for word in words)


def choose_names(*sources: Iterable[ConceptName]) -> dict[str, ConceptName]:
    """Choose one name for each concept: the only place that decides who wins.

    A name goes before a failure; then a person's before a language model's, that before a recorded one, that before
    the offline namer's; among people the later date, then the later source. So a correction survives every renaming,
    until somebody corrects it again.

    Returns
    -------
    dict of str to ConceptName
        By concept key, in the order in which the concepts first come.
    """
    chosen: dict[str, ConceptName] = {}
    for source in sources:
        for name in source:
            known = chosen.get(name.concept)
            if known is None or _merit(name) >= _merit(known):
                chosen[name.concept] = name
    return chosen


def _merit(name: ConceptName) -> tuple[bool, int, str]:
    return name.is_named, name.by.weight, name.date if name.by.kind == "person" else ""


@dataclass(frozen=True)
class ChoiceScore:
    """Blind forced choice: which of four rows of held-out images is the concept's, from its name alone.

    Attributes
    ----------
    against : {"random", "hard"}
        Rows of three concepts of the layer drawn at random, or of the three nearest in appearance, first those of
        another best class.
    n_asked, n_right : int
        The rows come in another order each time.
    n_undecided : int
        Of those asked: the judge found several rows to fit as well. They are not right.
    """

    against: Literal["random", "hard"]
    n_asked: Count
    n_right: Count
    n_undecided: Count = 0

    @property
    def rate(self) -> float:
        """Share that was right; guessing gives a quarter."""
        return self.n_right / self.n_asked if self.n_asked else 0.0


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
    choices : tuple of ChoiceScore
        Forced choices; none where there are too few held-out images or too few rows against them.
    """

    concept: str
    auprc: Share = 0.0
    f1: Share = 0.0
    shuffled_auprc: Share = 0.0
    shuffled_f1: Share = 0.0
    constant_auprc: Share = 0.0
    constant_f1: Share = 0.0
    stability: Share | None = None
    n_positive: Count = 0
    n_negative: Count = 0
    author: str = ""
    failure: str = ""
    choices: tuple[ChoiceScore, ...] = ()
