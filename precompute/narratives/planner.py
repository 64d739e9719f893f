"""Letting a language model plan a text: it chooses among true facts and orders them; nothing that it types is printed.

Owns the menu of facts, the form of a plan, how a reply is read, and the fallback. Must not know HTTP, files or pages.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from precompute.errors import ReplyError
from precompute.explanations.prediction import PredictionTable
from precompute.llm.asking import ask_twice
from precompute.llm.prompts import load_prompt
from precompute.llm.request import LanguageModel, Request
from precompute.llm.schema import one_of, read_reply, strict_schema
from precompute.records import Fact, Narrative, Refusal
from precompute.records.named import Author

from .audiences import Audience
from .plan import Plan, Relation, Sentence
from .realiser import Teller, narrate
from .wording import Wording

PROMPT = "planning"
MAX_MENU = 300
"""Facts on a menu: three enums of this size stay below the 1,000 values that strict schemas allow."""
MAX_REPLY = 20_000
"""Characters of a reply; a longer one is not read."""
MAX_REASON = 500
KEPT_REPLY = 4_000
_CODE_LETTERS = "abcdefghijkmnpqrstuvwxyz"
_CODE_LENGTH = 3


FactCode = Annotated[str, one_of("fact")]
"""A code on the menu of the request."""


class _SentenceReply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    facts: list[FactCode]
    relation: Relation


class _ParagraphReply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    sentences: list[_SentenceReply]


class _PlanReply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    reasoning: str = Field(description="Think here: what does this reader have to know first? Nobody will read it.")
    headline: _SentenceReply
    paragraphs: list[_ParagraphReply]
    left_out: list[FactCode] = Field(description="Facts that this text can do without.")


@dataclass(frozen=True)
class Commission:
    """What one text is to be planned and worded from.

    Attributes
    ----------
    table : PredictionTable
    facts : tuple of Fact
        Everything that was derived from the table.
    audience : Audience
    wording : Wording
    pictures : tuple of bytes
        The photo, then the photo with the relevance of each concept; encoded.
    """

    table: PredictionTable
    facts: tuple[Fact, ...]
    audience: Audience
    wording: Wording
    pictures: tuple[bytes, ...] = ()

    def menu(self) -> dict[str, Fact]:
        """List the facts that concern the audience, by code."""
        return menu_of(self.audience.concerns(self.facts, self.table), f"{self.table.key} {self.audience.name}")

    def request(self, reason: str = "") -> Request:
        """Make the request for a plan; `reason` says why the reply before could not be used, empty at first."""
        menu, prompt = self.menu(), load_prompt(PROMPT)
        teller = Teller(self.table, {fact.id: fact for fact in self.facts}, self.audience, self.wording)
        system, user = prompt.render(
            audience=self.audience.who,
            fewest=self.audience.words[0],
            most=self.audience.words[1],
            facts=[
                {"code": code, "must": fact.must, "says": json.dumps(teller.alone(fact), ensure_ascii=False)}
                for code, fact in menu.items()
            ],
            n_pictures=len(self.pictures),
            reason=reason[:MAX_REASON],
        )
        return Request(
            PROMPT, system, user, images=self.pictures, schema=strict_schema(_PlanReply, {"fact": list(menu)})
        )

    def read(self, reply: str) -> Plan:
        """Read a reply as a plan over this table's facts.

        Raises
        ------
        ReplyError
            Too long, not of the schema, or with a code that is not on the menu; says which.
        """
        read = read_reply(reply, _PlanReply, longest=MAX_REPLY)
        menu = self.menu()
        sentences = [read.headline, *(sentence for paragraph in read.paragraphs for sentence in paragraph.sentences)]
        codes = [*(code for sentence in sentences for code in sentence.facts), *read.left_out]
        if unknown := [code for code in codes if code not in menu]:
            raise ReplyError(f"there is no fact with the code {unknown[0][:20]!r}")
        if not any(sentence.facts for sentence in sentences):
            raise ReplyError("the plan tells no fact")

        def sentence(item: _SentenceReply) -> Sentence:
            return Sentence(tuple(menu[code].id for code in item.facts), item.relation)

        paragraphs = (tuple(sentence(item) for item in paragraph.sentences) for paragraph in read.paragraphs)
        return Plan(sentence(read.headline), tuple(paragraphs))

    def narrate(self, plan: Plan | None = None, planner: str = "") -> Narrative:
        """Word a plan, or the built-in one."""
        given = {"plan": plan, "planner": planner} if plan else {}
        return narrate(self.table, self.facts, self.audience, self.wording, **given)  # type: ignore[arg-type]


async def plan_and_narrate(commission: Commission, model: LanguageModel) -> Narrative:
    """Let a language model plan a text; the built-in plan takes its place after two plans that cannot be used.

    Parameters
    ----------
    commission : Commission
    model : LanguageModel

    Returns
    -------
    Narrative
        Its `refusals` hold what could not be used.

    Raises
    ------
    NamerError
        No request can be answered: key, model, server or cost limit.
    """
    replies: list[str] = []

    def request(reason: str) -> Request:
        replies.append("")
        return commission.request(reason)

    def read(reply: str) -> Plan:
        replies[-1] = reply
        return commission.read(reply)

    answer = await ask_twice(model, request, read)
    narrative = commission.narrate(answer.value, str(Author.of_model(model.model)))
    refusals = tuple(
        Refusal(reason, replies[attempt][:KEPT_REPLY], attempt) for attempt, reason in enumerate(answer.reasons)
    )
    return replace(narrative, prompt_digest=load_prompt(PROMPT).digest, refusals=refusals)


def menu_of(facts: Sequence[Fact], key: str) -> dict[str, Fact]:
    """Give each fact a code that says nothing, in an order that says nothing.

    Parameters
    ----------
    facts : sequence of Fact
        Those that concern the audience.
    key : str
        Of the text; codes and order follow from it and from the facts alone. Codes of another text are unknown here.
    """
    kept = sorted(facts, key=lambda fact: not fact.must)[:MAX_MENU]
    menu: dict[str, Fact] = {}
    for fact in kept:
        number, code = 0, ""
        while not code or code in menu:
            code = _code(f"{key} {fact.id} {number}")
            number += 1
        menu[code] = fact
    codes = sorted(menu)
    random.Random(key).shuffle(codes)
    return {code: menu[code] for code in codes}


def _code(text: str) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    letters = []
    for _ in range(_CODE_LENGTH):
        number, position = divmod(number, len(_CODE_LETTERS))
        letters.append(_CODE_LETTERS[position])
    return "".join(letters)
