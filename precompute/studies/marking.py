"""What answers say: hit rates by namer and confidence, and how far raters agree.

Owns the checks of answers against the key and the figures. Must not know files or how anything is printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from precompute.errors import DataError
from precompute.records import Author
from precompute.records.reliability import CLAIM_EDGES
from precompute.records.studied import (
    OPTION_LETTERS,
    HitRate,
    Judged,
    QuestionKind,
    StudyAnswers,
    StudyKey,
    StudyQuestion,
    StudyResult,
)

from .agreement import krippendorff_alpha, wilson

KINDS: tuple[QuestionKind, ...] = ("random", "hard", "intruder", "text")


@dataclass(frozen=True)
class _Answered:
    question: StudyQuestion
    chosen: tuple[int, ...]

    @property
    def n_right(self) -> int:
        return self.chosen.count(self.question.right)


def read_choices(key: StudyKey, answers: StudyAnswers, where: str) -> dict[str, int]:
    """Return what one rater chose: place among the question's options, by question id.

    Parameters
    ----------
    key : StudyKey
    answers : StudyAnswers
    where : str
        The file, for messages.

    Raises
    ------
    DataError
        The answers are of another study, or of a rater, question or option that it does not have.
    """
    if answers.study != key.study:
        raise DataError(
            f"{where} answers the study {answers.study[:16]!r}, and the key is of the study {key.study!r}: name "
            "the folder where the rater's page was made with --folder"
        )
    sheets = {sheet.rater: sheet for sheet in key.raters}
    if answers.rater not in sheets:
        raise DataError(f"{where} is of {answers.rater[:40]!r}; the key has {', '.join(sheets)}")
    sheet, found = sheets[answers.rater], {}
    for number, letter in answers.answers.items():
        place = int(number) - 1 if number.isascii() and number.isdigit() and len(number) < 6 else -1
        if not 0 <= place < len(sheet.questions):
            raise DataError(
                f"{where} answers a question {number[:20]!r}; {answers.rater}'s page has 1 to {len(sheet.questions)}"
            )
        order = sheet.orders[place]
        letters = OPTION_LETTERS[: len(order)]
        if len(letter) != 1 or letter not in letters:
            raise DataError(f"{where}, question {number}: {letter[:20]!r} is no option; they are {', '.join(letters)}")
        found[sheet.questions[place]] = order[letters.index(letter)]
    return found


def mark(key: StudyKey, choices: Mapping[str, Mapping[str, int]]) -> StudyResult:
    """Compute all figures from what each rater chose.

    Parameters
    ----------
    key : StudyKey
    choices : mapping of rater to the places chosen by question id
    """
    answered = []
    for question in key.questions:
        chosen = tuple(choices[rater][question.id] for rater in sorted(choices) if question.id in choices[rater])
        if chosen:
            answered.append(_Answered(question, chosen))
    alphas: dict[str, float | None] = {
        kind: krippendorff_alpha([item.chosen for item in answered if item.question.kind == kind])
        for kind in KINDS
        if any(item.question.kind == kind for item in answered)
    }
    judged = tuple(
        Judged(item.question.id, item.question.kind, item.question.concept, item.n_right, len(item.chosen))
        for item in answered
    )
    return StudyResult(key.study, tuple(sorted(choices)), tuple(_rates(answered)), alphas, judged)


def _rates(answered: Sequence[_Answered]) -> Iterator[HitRate]:
    for kind in KINDS:
        of_kind = [item for item in answered if item.question.kind == kind]
        if kind in ("intruder", "text"):
            if of_kind:
                yield _rate(kind, "", None, None, of_kind)
            continue
        for author in sorted({_author(item.question) for item in of_kind}):
            of_author = [item for item in of_kind if _author(item.question) == author]
            yield _rate(kind, author, None, None, of_author)
            for at_least, below, band in _bands(of_author):
                yield _rate(kind, author, at_least, below, band)


def _author(question: StudyQuestion) -> str:
    return Author.parse(question.author, recorded=question.recorded).words


def _bands(items: Iterable[_Answered]) -> Iterator[tuple[float, float | None, list[_Answered]]]:
    """Part names by what their namer claimed; those without a claim are in no band."""
    claimed = [(item.question.confidence, item) for item in items if item.question.confidence is not None]
    for at_least, below in zip(CLAIM_EDGES, (None, *CLAIM_EDGES), strict=False):
        band = [item for claim, item in claimed if claim >= at_least and (below is None or claim < below)]
        if band:
            yield at_least, below, band


def _rate(
    kind: QuestionKind, author: str, at_least: float | None, below: float | None, items: Sequence[_Answered]
) -> HitRate:
    n = len(items)
    rate = sum(item.n_right / len(item.chosen) for item in items) / n
    low, high = wilson(rate, n)
    return HitRate(
        kind=kind,
        author=author,
        at_least=at_least,
        below=below,
        n_questions=n,
        n_answers=sum(len(item.chosen) for item in items),
        n_right=sum(item.n_right for item in items),
        rate=rate,
        low=low,
        high=high,
        chance=sum(1 / len(item.question.options) for item in items) / n,
    )
