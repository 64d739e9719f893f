"""Forced choice by a judge: which of four rows of held-out images is the concept's, from its name alone.

Owns the questions, the judge behind a language model, the one behind a judge of single tiles, and the count. Must not
know files, HTTP or how names were made.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from precompute.errors import ReplyError
from precompute.images.contact_sheet import rows_sheet
from precompute.llm.asking import ask_all, ask_twice
from precompute.llm.prompts import Prompt, load_prompt
from precompute.llm.request import LanguageModel, Request
from precompute.llm.schema import read_reply, strict_schema
from precompute.naming.scoring import Judge, Question, full_name
from precompute.records import ChoiceScore, Concept, ConceptName, Reference

from .rows import Against, Rows

AGAINST: tuple[Against, ...] = ("random", "hard")


@dataclass(frozen=True)
class ChoiceQuestion:
    """One forced choice in one order of its rows.

    Attributes
    ----------
    concept : Concept
    against : {"random", "hard"}
    name : str
    rows : tuple of tuple of Reference
    right : int
        Which row is the concept's own; no judge is told.
    """

    concept: Concept
    against: Against
    name: str
    rows: tuple[tuple[Reference, ...], ...]
    right: int


@dataclass(frozen=True)
class Chosen:
    """A judge's answer: a row, none where all that could be said is that several fit as well, or why there is none."""

    row: int | None = None
    failure: str = ""


class Chooser(Protocol):
    """Says which row a name fits best."""

    def choose(self, questions: Sequence[ChoiceQuestion]) -> Iterator[tuple[int, Chosen]]:
        """Yield (index of the question, answer) for each question, in any order."""
        ...


class _ChoiceReply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    row: int = Field(description="Number of the row that the label fits best.")


class LlmChooser:
    """A language model as the judge; it sees the name and numbered crops, and nothing else."""

    def __init__(self, model: LanguageModel, *, prompt: Prompt | None = None) -> None:
        self.prompt = prompt or load_prompt("choosing")
        self._model = model

    def choose(self, questions: Sequence[ChoiceQuestion]) -> Iterator[tuple[int, Chosen]]:
        """Ask each question, at most twice."""
        return ask_all(self._model, enumerate(questions), self._choose_one)

    def requests(self, questions: Iterable[ChoiceQuestion]) -> Iterator[Request]:
        """Yield the first request for each question: for an estimate."""
        for question in questions:
            yield self._request(question, rows_sheet(question.rows), "")

    async def _choose_one(self, numbered: tuple[int, ChoiceQuestion]) -> tuple[int, Chosen]:
        index, question = numbered
        sheet = await asyncio.to_thread(rows_sheet, question.rows)
        answer = await ask_twice(
            self._model,
            lambda reason: self._request(question, sheet, reason),
            lambda text: read_choice_reply(text, len(question.rows)),
        )
        return index, Chosen(answer.value, answer.failure)

    def _request(self, question: ChoiceQuestion, sheet: bytes, reason: str) -> Request:
        n_rows, n_tiles = len(question.rows), len(question.rows[0])
        system, user = self.prompt.render(name=question.name, n_rows=n_rows, n_tiles=n_tiles, reason=reason)
        return Request("choosing", system, user, (sheet,), strict_schema(_ChoiceReply))


def read_choice_reply(text: str, n_rows: int) -> int:
    """Read a judge's reply; raises ReplyError where it is not one row of those shown."""
    row = read_reply(text, _ChoiceReply).row
    if not 0 <= row < n_rows:
        raise ReplyError(f"row {row} was not shown; there are 0 to {n_rows - 1}")
    return row


class TileChooser:
    """A judge of single tiles as the judge of rows: the row whose tiles most probably show what the name says."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def choose(self, questions: Sequence[ChoiceQuestion]) -> Iterator[tuple[int, Chosen]]:
        """Choose by the mean probability of a row; of rows that are best alike none."""
        asked = [Question(item.name, "", tuple(tile for row in item.rows for tile in row)) for item in questions]
        for index, verdict in self._judge.judge(asked):
            if verdict.failure:
                yield index, Chosen(failure=verdict.failure)
                continue
            length = len(questions[index].rows[0])
            sums = [sum(verdict.probabilities[at : at + length]) for at in range(0, len(asked[index].tiles), length)]
            best = [row for row, total in enumerate(sums) if total >= max(sums) - 1e-9]
            yield index, Chosen(best[0] if len(best) == 1 else None)


def choice_questions(
    rows: Rows, concepts: Iterable[Concept], names: Mapping[str, ConceptName], n_orders: int, seed: int
) -> Iterator[ChoiceQuestion]:
    """Make the questions about the named concepts of one layer.

    Parameters
    ----------
    rows : Rows
    concepts : iterable of Concept
    names : mapping of concept key to ConceptName
    n_orders : int
        How often each is asked, its rows in another order each time: a judge may prefer a place.
    seed : int
    """
    for concept in concepts:
        name = names.get(concept.key)
        if name is None or not name.is_named:
            continue
        for against in AGAINST:
            choice = rows.choose(concept.channel, against)
            if choice is None:
                continue
            rng = random.Random(f"orders:{seed}:{concept.key}:{against}")
            for _ in range(n_orders):
                order = rng.sample(range(len(choice.rows)), len(choice.rows))
                shown = tuple(choice.rows[place] for place in order)
                yield ChoiceQuestion(concept, against, full_name(name), shown, order.index(choice.right))


def count_choices(
    questions: Sequence[ChoiceQuestion], chosen: Mapping[int, Chosen]
) -> dict[str, tuple[ChoiceScore, ...]]:
    """Count by concept key how often the right row was chosen; questions without an answer are left out."""
    counts: dict[tuple[str, Against], list[Chosen]] = {}
    right: dict[tuple[str, Against], int] = {}
    for index, question in enumerate(questions):
        answer, key = chosen[index], (question.concept.key, question.against)
        if answer.failure:
            continue
        counts.setdefault(key, []).append(answer)
        right[key] = right.get(key, 0) + (answer.row == question.right)
    found: dict[str, tuple[ChoiceScore, ...]] = {}
    for (concept, against), answers in counts.items():
        undecided = sum(answer.row is None for answer in answers)
        score = ChoiceScore(against, len(answers), right[concept, against], undecided)
        found[concept] = (*found.get(concept, ()), score)
    return found
