"""Scoring names: whether a judge who is told a name can pick the concept's held-out references from others.

Owns the questions put to a judge, the judge behind a language model, and the two baselines. Must not know how names
were made, HTTP, files or pages.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field

from precompute.errors import ReplyError
from precompute.images.contact_sheet import numbered_sheet
from precompute.llm.asking import ask_all, ask_twice
from precompute.llm.prompts import Prompt, load_prompt
from precompute.llm.request import LanguageModel, Request
from precompute.llm.schema import read_reply, strict_schema
from precompute.records import Author, ConceptName, ConceptScore, Reference

from .held_out import Trial
from .metrics import average_precision, f1_score, name_agreement

NO_VERDICT = "no verdict: "
"""How the failure of a score begins where the judge was asked and gave no usable answer."""
CONSTANT_NAME = ("something visible", "Anything at all that can be seen in a picture.")
"""The constant-name baseline: the same words for every concept, true of every picture."""


@dataclass(frozen=True)
class Question:
    """One name to be tried on tiles whose origin the judge is not told.

    Attributes
    ----------
    name, description : str
    tiles : tuple of Reference
        Positives and negatives, mixed; the judge of a language model sees their crops alone.
    """

    name: str
    description: str
    tiles: tuple[Reference, ...]


@dataclass(frozen=True)
class Verdict:
    """A judge's answer: one probability for each tile, or the reason why there is none."""

    probabilities: tuple[float, ...] = ()
    failure: str = ""


class Judge(Protocol):
    """Says which tiles show what a name says."""

    author: str

    def judge(self, questions: Sequence[Question]) -> Iterator[tuple[int, Verdict]]:
        """Yield (index of the question, verdict) for each question, in any order."""
        ...


class _TileVerdict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    number: int = Field(description="As printed above the tile.")
    probability: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = Field(
        description="From 0 to 1: that the tile shows it."
    )


class _JudgeReply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    tiles: list[_TileVerdict]


class LlmJudge:
    """A language model as the judge; it sees the name, the description and numbered crops, and nothing else."""

    def __init__(self, model: LanguageModel, *, prompt: Prompt | None = None) -> None:
        self.author = str(Author.of_model(model.model))
        self.prompt = prompt or load_prompt("scoring")
        self._model = model

    def judge(self, questions: Sequence[Question]) -> Iterator[tuple[int, Verdict]]:
        """Ask each question, at most twice."""
        return ask_all(self._model, enumerate(questions), self._judge_one)

    def requests(self, questions: Sequence[Question]) -> Iterator[Request]:
        """Yield the first request for each question: for an estimate, or for a batch."""
        for question in questions:
            yield self._request(question, numbered_sheet([tile.crop for tile in question.tiles]), "")

    async def _judge_one(self, numbered: tuple[int, Question]) -> tuple[int, Verdict]:
        index, question = numbered
        sheet = await asyncio.to_thread(numbered_sheet, [tile.crop for tile in question.tiles])
        answer = await ask_twice(
            self._model,
            lambda reason: self._request(question, sheet, reason),
            lambda text: read_judge_reply(text, len(question.tiles)),
        )
        return index, Verdict(answer.value or (), answer.failure)

    def _request(self, question: Question, sheet: bytes, reason: str) -> Request:
        system, user = self.prompt.render(
            name=question.name, description=question.description, n_tiles=len(question.tiles), reason=reason
        )
        return Request("scoring", system, user, (sheet,), strict_schema(_JudgeReply))


def read_judge_reply(text: str, n_tiles: int) -> tuple[float, ...]:
    """Read a judge's reply: one probability for each tile, by number.

    Raises
    ------
    ReplyError
        Not JSON, not the schema, a tile missing, repeated or unknown.
    """
    reply = read_reply(text, _JudgeReply)
    numbers = [tile.number for tile in reply.tiles]
    if unknown := sorted(set(numbers) - set(range(n_tiles))):
        raise ReplyError(f"tile {unknown[0]} was not shown; there are 0 to {n_tiles - 1}")
    if missing := sorted(set(range(n_tiles)) - set(numbers)):
        raise ReplyError(f"tile {missing[0]} is missing; every tile from 0 to {n_tiles - 1} needs its probability")
    if len(numbers) != n_tiles:
        raise ReplyError("a tile comes twice")
    return tuple(tile.probability for tile in sorted(reply.tiles, key=lambda tile: tile.number))


def shuffled_partners(concepts: Sequence[str], seed: int = 0) -> dict[str, str]:
    """Pair each concept with another one, by a seeded cycle through all of them; itself where it is alone."""
    order = random.Random(f"partners:{seed}").sample(sorted(concepts), len(concepts))
    return dict(zip(order, order[1:] + order[:1], strict=True))


def score_names(
    names: Mapping[str, ConceptName],
    trials: Sequence[Trial],
    judge: Judge,
    *,
    other_names: Mapping[str, ConceptName] | None = None,
    seed: int = 0,
) -> Iterator[ConceptScore]:
    """Score names, with the shuffled-name and the constant-name baseline on the same tiles.

    Parameters
    ----------
    names : mapping of concept key to ConceptName
    trials : sequence of Trial
    judge : Judge
    other_names : mapping of concept key to ConceptName, optional
        Names made anew from the held-out half, for the stability.
    seed : int
        Of the order of the tiles and of the shuffled names.

    Yields
    ------
    ConceptScore
        One for each trial, in their order; a failure record where the concept has no name, no usable trial, or where
        the judge gave no usable answer.
    """
    named = _named(names)
    usable = [trial for trial in trials if not _unusable(trial, named)]
    verdicts = dict(judge.judge(questions_of(names, trials, seed)))
    position = {trial.concept: 3 * index for index, trial in enumerate(usable)}
    for trial in trials:
        if failure := _unusable(trial, named):
            yield ConceptScore(trial.concept.key, author=judge.author, failure=failure)
            continue
        start = position[trial.concept]
        triple = [verdicts[start + offset] for offset in range(3)]
        yield _score(trial, triple, judge.author, _stability(trial, named, other_names), seed)


def questions_of(names: Mapping[str, ConceptName], trials: Sequence[Trial], seed: int = 0) -> list[Question]:
    """Make the questions that `score_names` asks: three for each usable trial, in their order."""
    named = _named(names)
    partners = shuffled_partners(list(named), seed)
    usable = [trial for trial in trials if not _unusable(trial, named)]
    return [question for trial in usable for question in _questions(trial, named, partners, seed)]


def _named(names: Mapping[str, ConceptName]) -> dict[str, ConceptName]:
    return {key: name for key, name in names.items() if name.is_named}


def _unusable(trial: Trial, named: Mapping[str, ConceptName]) -> str:
    if trial.concept.key not in named:
        return "the concept has no name"
    if not trial.positives or not trial.negatives:
        return f"{len(trial.positives)} held-out positives and {len(trial.negatives)} negatives: nothing to compare"
    return ""


def _mixed(trial: Trial, seed: int) -> list[tuple[Reference, bool]]:
    tiles = [(tile, True) for tile in trial.positives] + [(tile, False) for tile in trial.negatives]
    return random.Random(f"tiles:{seed}:{trial.concept.key}").sample(tiles, len(tiles))


def _questions(
    trial: Trial, named: Mapping[str, ConceptName], partners: Mapping[str, str], seed: int
) -> list[Question]:
    """Ask about the concept's own name, another concept's, and the constant one, in this order."""
    tiles = tuple(tile for tile, _ in _mixed(trial, seed))
    own, other = named[trial.concept.key], named[partners[trial.concept.key]]
    return [
        Question(full_name(own), own.description, tiles),
        Question(full_name(other), other.description, tiles),
        Question(*CONSTANT_NAME, tiles),
    ]


def full_name(name: ConceptName) -> str:
    """Return the name as it is tried: both names where the references fall into two groups."""
    return f"{name.name}, or {name.second_name}" if name.second_name else name.name


def _stability(
    trial: Trial, named: Mapping[str, ConceptName], others: Mapping[str, ConceptName] | None
) -> float | None:
    other, own = (others or {}).get(trial.concept.key), named[trial.concept.key]
    if other is None or not other.is_named or other.by != own.by:
        return None  # a name says nothing of how steady another namer's names are
    return name_agreement((full_name(own), own.description), (full_name(other), other.description))


def _score(trial: Trial, verdicts: list[Verdict], author: str, stability: float | None, seed: int) -> ConceptScore:
    failures = [verdict.failure for verdict in verdicts if verdict.failure]
    if failures:
        return ConceptScore(trial.concept.key, author=author, failure=NO_VERDICT + failures[0], stability=stability)
    truth = [positive for _, positive in _mixed(trial, seed)]
    areas = [average_precision(verdict.probabilities, truth) for verdict in verdicts]
    f1s = [f1_score(verdict.probabilities, truth) for verdict in verdicts]
    return ConceptScore(
        trial.concept.key,
        auprc=areas[0],
        f1=f1s[0],
        shuffled_auprc=areas[1],
        shuffled_f1=f1s[1],
        constant_auprc=areas[2],
        constant_f1=f1s[2],
        stability=stability,
        n_positive=len(trial.positives),
        n_negative=len(trial.negatives),
        author=author,
    )
