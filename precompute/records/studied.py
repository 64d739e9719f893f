"""Records of studies with people: what was asked, what was answered, and what came of it.

Knows nothing else. A page of a study is given to a rater; its key stays with whoever made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from .values import Count, Share

QuestionKind = Literal["random", "hard", "intruder", "text"]
"""``random``: a name, its concept's held-out row and three random rows. ``hard``: the same with the three rows that are
nearest in appearance, of other classes. ``intruder``: a row with one image of another concept. ``text``: a photo, what
the atlas says of it and what it says of another one."""

OPTION_LETTERS = "ABCDEFGH"
"""Options are called by their place on the page."""


@dataclass(frozen=True)
class StudyQuestion:
    """One question, and what is right: never on a page.

    Attributes
    ----------
    id : str
    kind : {"random", "hard", "intruder", "text"}
    options : tuple of str
        What each option is of: a concept's key, or an explanation's id. In an order drawn for the question, so that
        no place is right more often than another.
    right : int
        Place among the options.
    concept : str
        Key of the concept that is tried; empty for texts.
    name, author : str
        The name asked about and who gave it; empty where no name is. Untrusted until escaped.
    recorded : bool
        As in `ConceptName`.
    confidence : float or None
        What the namer claimed.
    held_out : bool
        The namer did not see the images.
    """

    id: str
    kind: QuestionKind
    options: tuple[str, ...]
    right: Count
    concept: str = ""
    name: str = ""
    author: str = ""
    recorded: bool = False
    confidence: Share | None = None
    held_out: bool = True


@dataclass(frozen=True)
class RaterSheet:
    """What one rater is asked.

    Attributes
    ----------
    rater : str
        Such as ``rater-01``.
    questions : tuple of str
        Ids, in the order of the page.
    orders : tuple of tuple of int
        For each question the options in the order of the page, by their place in `StudyQuestion.options`.
    """

    rater: str
    questions: tuple[str, ...]
    orders: tuple[tuple[Count, ...], ...]


@dataclass(frozen=True)
class StudyKey:
    """The content of ``key.json``: what the pages ask, and what is right.

    Attributes
    ----------
    study : str
        Digest of the whole, which the pages and the answers bear.
    atlas : str
        Its name.
    seed : int
    questions : tuple of StudyQuestion
    raters : tuple of RaterSheet
    """

    FILE_FORMAT: ClassVar[tuple[str, int]] = ("study-key", 1)

    study: str
    atlas: str
    seed: int
    questions: tuple[StudyQuestion, ...]
    raters: tuple[RaterSheet, ...]


@dataclass(frozen=True)
class StudyAnswers:
    """What a rater's page hands over as a file.

    Attributes
    ----------
    study, rater : str
        As in the key.
    answers : dict of str to str
        The letter chosen, by the question's number on the page, from 1; those left open are not there.
    """

    FILE_FORMAT: ClassVar[tuple[str, int]] = ("study-answers", 1)

    study: str
    rater: str
    answers: dict[str, str]


@dataclass(frozen=True)
class HitRate:
    """How often a sort of question was answered right.

    Attributes
    ----------
    kind : {"random", "hard", "intruder", "text"}
    author : str
        Of the names, as `Author.words` says it; empty where no name is asked about.
    at_least : float or None
        Lowest claim of the band; None where it is of all names.
    below : float or None
        Where the band ends.
    n_questions, n_answers, n_right : int
    rate : float
        Mean over the questions of the share of their answers that are right.
    low, high : float
        Wilson's interval of 95 % for as many questions as there are, however many people answered each: answers to
        the same question do not tell more of other names.
    chance : float
        What guessing gives.
    """

    kind: QuestionKind
    author: str
    at_least: Share | None
    below: Share | None
    n_questions: Count
    n_answers: Count
    n_right: Count
    rate: Share
    low: Share
    high: Share
    chance: Share


@dataclass(frozen=True)
class Judged:
    """What people made of one question: `n_right` of `n_answers` chose what is right."""

    question: str
    kind: QuestionKind
    concept: str
    n_right: Count
    n_answers: Count


@dataclass(frozen=True)
class StudyResult:
    """The content of ``result.json``.

    Attributes
    ----------
    study : str
    raters : tuple of str
        Whose answers were read.
    rates : tuple of HitRate
    alphas : dict of str to float or None
        Krippendorff's alpha by kind of question; None where no question has two answers, or all answers are the same.
    questions : tuple of Judged
        Those with an answer.
    """

    FILE_FORMAT: ClassVar[tuple[str, int]] = ("study-result", 1)

    study: str
    raters: tuple[str, ...]
    rates: tuple[HitRate, ...]
    alphas: dict[str, float | None]
    questions: tuple[Judged, ...]


@dataclass(frozen=True)
class AskedQuestion:
    """One question as a rater sees it.

    Attributes
    ----------
    kind : {"random", "hard", "intruder", "text"}
    name : str
        Asked about; empty where no name is. Untrusted until escaped.
    rows : tuple of tuple of bytes
        Encoded pictures of each option, in the order of the page.
    texts : tuple of str
        The text of each option; untrusted until escaped.
    photo : bytes
        What texts are about.
    language : str
        Code of the texts' language.
    """

    kind: QuestionKind
    name: str = ""
    rows: tuple[tuple[bytes, ...], ...] = ()
    texts: tuple[str, ...] = ()
    photo: bytes = b""
    language: str = "en"


@dataclass(frozen=True)
class RaterPage:
    """One rater's page before it is HTML: nothing in it tells what is right."""

    study: str
    rater: str
    questions: tuple[AskedQuestion, ...]
