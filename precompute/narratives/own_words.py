"""In the model's own words: sentences that a language model writes, each checked against its facts by a second request.

Owns what such a sentence may hold, how its values are put in, and the check. It stands beside the planned text and does
not replace it: this one is checked by a model, not true by construction. Must not know HTTP, files or pages.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from precompute.errors import ReplyError
from precompute.llm.asking import ask_twice
from precompute.llm.prompts import load_prompt
from precompute.llm.request import LanguageModel, Request
from precompute.llm.schema import read_reply, strict_schema
from precompute.llm.text import clean_line, require_plain
from precompute.records import OwnWords, Refusal, Statement
from precompute.records.named import Author

from .planner import KEPT_REPLY, MAX_REASON, MAX_REPLY, Commission, FactCode
from .realiser import Teller
from .wording import Slots

PROMPT = "own_words"
CHECK_PROMPT = "own_words_check"
MAX_SENTENCE = 400
MAX_SENTENCES = 20
TYPICAL_SENTENCES = 8
"""Checks of one text, for an estimate; the cost limit holds whatever their number."""
_VALUE = re.compile(r"\{([a-z]+)\.([a-z_]+)\}")


class _SentenceReply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    text: str = Field(description="One sentence, with the values of its facts as {code.value}.")
    facts: list[FactCode] = Field(description="Every fact that the sentence says.")


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    reasoning: str = Field(description="Think here. Nobody will read it.")
    sentences: list[_SentenceReply]


class _Check(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    reasoning: str = Field(description="Go through the sentence word by word.")
    says_more: bool = Field(description="Whether the sentence says anything that the facts do not.")
    what: str = Field(description="What it says beyond them, in a few words; empty otherwise.")


@dataclass(frozen=True)
class Draft:
    """One sentence with its values put in, and the facts that it names."""

    statement: Statement
    says: tuple[str, ...]


class Writer:
    """The requests and replies of one text in a model's own words.

    Parameters
    ----------
    commission : Commission
    """

    def __init__(self, commission: Commission) -> None:
        self._commission = commission
        self._menu = commission.menu()
        facts = {fact.id: fact for fact in commission.facts}
        self._teller = Teller(commission.table, facts, commission.audience, commission.wording)

    def request(self, reason: str = "") -> Request:
        """Make the request for the sentences."""
        prompt, commission = load_prompt(PROMPT), self._commission
        facts = [
            {
                "code": code,
                "says": json.dumps(self._teller.alone(fact), ensure_ascii=False),
                "values": [f"{{{code}.{role}}}" for role in self._teller.values(Slots(), fact)],
            }
            for code, fact in self._menu.items()
        ]
        system, user = prompt.render(
            audience=commission.audience.who,
            language=commission.wording.language,
            fewest=commission.audience.words[0],
            most=commission.audience.words[1],
            facts=facts,
            reason=reason[:MAX_REASON],
        )
        return Request(PROMPT, system, user, schema=strict_schema(_Reply, {"fact": list(self._menu)}))

    def check_request(self, sentence: str, says: tuple[str, ...], reason: str = "") -> Request:
        """Make the request that compares one sentence with its facts."""
        prompt = load_prompt(CHECK_PROMPT)
        system, user = prompt.render(
            sentence=json.dumps(sentence, ensure_ascii=False),
            facts=[json.dumps(fact, ensure_ascii=False) for fact in says],
            reason=reason[:MAX_REASON],
        )
        return Request(CHECK_PROMPT, system, user, schema=strict_schema(_Check))

    def typical_requests(self) -> Iterator[Request]:
        """List the requests that a text will take, for an estimate: the writing, and the checks of likely sentences."""
        yield self.request()
        said = sorted((self._teller.alone(fact) for fact in self._menu.values()), key=len, reverse=True)
        for sentence in said[:TYPICAL_SENTENCES]:
            yield self.check_request(sentence, (sentence,))

    def read(self, reply: str) -> list[Draft | Refusal]:
        """Read a reply; a sentence that may not stand becomes a refusal.

        Raises
        ------
        ReplyError
            The whole reply is too long, not of the schema, or without a sentence.
        """
        sentences = read_reply(reply, _Reply, longest=MAX_REPLY).sentences
        if not 0 < len(sentences) <= MAX_SENTENCES:
            raise ReplyError(f"the reply has {len(sentences)} sentences; 1 to {MAX_SENTENCES} are read")
        return [self._draft(sentence) for sentence in sentences]

    def _draft(self, sentence: _SentenceReply) -> Draft | Refusal:
        try:
            return self._checked(sentence)
        except ReplyError as error:
            return Refusal(str(error), sentence.text[:KEPT_REPLY], 0)

    def _checked(self, sentence: _SentenceReply) -> Draft:
        if unknown := [code for code in sentence.facts if code not in self._menu]:
            raise ReplyError(f"there is no fact with the code {unknown[0][:20]!r}")
        if not sentence.facts:
            raise ReplyError("it names no fact")
        if len(sentence.text) > MAX_SENTENCE or sentence.text != clean_line(sentence.text):
            raise ReplyError(f"it is not one line of at most {MAX_SENTENCE} visible characters")
        self._check_prose(_VALUE.sub("", sentence.text))
        facts = {code: self._menu[code] for code in sentence.facts}
        slots = Slots()
        values = {code: self._teller.values(slots, fact) for code, fact in facts.items()}

        def put_in(match: re.Match[str]) -> str:
            found = values.get(match[1], {}).get(match[2])
            if found is None:
                raise ReplyError(f"the facts that it names have no value {match[0]}")
            return found

        pieces = slots.pieces(_VALUE.sub(put_in, sentence.text))
        said = tuple(self._teller.alone(fact) for fact in facts.values())
        return Draft(Statement(pieces, tuple(fact.id for fact in facts.values())), said)

    def _check_prose(self, prose: str) -> None:
        """Check what is left of a sentence without its values."""
        if any(character.isnumeric() for character in prose):
            raise ReplyError("it types a number")
        if re.search(r"[{}<>]", prose):
            raise ReplyError("it holds braces or markup outside its values")
        require_plain(prose, "it")
        lowered, table = prose.casefold(), self._commission.table
        names = [text for name in table.names.values() for text in name.all_names()]
        names += [ref.name for ref in table.classes()]
        if typed := next((name for name in names if re.search(rf"\b{re.escape(name.casefold())}\b", lowered)), None):
            raise ReplyError(f"it types the name {typed[:40]!r} instead of its value")

    def facts_of(self, drafts: list[Draft]) -> tuple[Statement, ...]:
        """Word each fact that a sentence names, once."""
        named = dict.fromkeys(fact for draft in drafts for fact in draft.statement.facts)
        return tuple(self._teller.statement_alone(fact) for fact in named)


async def write_own_words(commission: Commission, writer: LanguageModel, checker: LanguageModel) -> OwnWords:
    """Let one model write, and one (the same or another) check each sentence.

    Raises
    ------
    NamerError
        No request can be answered: key, model, server or cost limit.
    """
    text = Writer(commission)
    answer = await ask_twice(writer, text.request, text.read)
    read = answer.value or []
    refused = [Refusal(reason, answer.raw[:KEPT_REPLY], attempt) for attempt, reason in enumerate(answer.reasons)]
    refused += [item for item in read if isinstance(item, Refusal)]
    drafts = [item for item in read if isinstance(item, Draft)]
    verdicts = await asyncio.gather(*(_check(text, draft, checker) for draft in drafts))
    kept = [draft for draft, verdict in zip(drafts, verdicts, strict=True) if not verdict]
    refused += [
        Refusal(verdict, draft.statement.text, 1) for draft, verdict in zip(drafts, verdicts, strict=True) if verdict
    ]
    return OwnWords(
        author=str(Author.of_model(writer.model)),
        checker=str(Author.of_model(checker.model)),
        statements=tuple(draft.statement for draft in kept),
        facts=text.facts_of(kept),
        refused=tuple(refused),
        prompt_digests=prompt_digests(),
    )


def prompt_digests() -> tuple[str, ...]:
    """Return the digests of the prompts for writing and for checking."""
    return load_prompt(PROMPT).digest, load_prompt(CHECK_PROMPT).digest


async def _check(text: Writer, draft: Draft, checker: LanguageModel) -> str:
    """Return why a sentence is refused; empty where it says no more than its facts."""
    answer = await ask_twice(
        checker,
        lambda reason: text.check_request(draft.statement.text, draft.says, reason),
        lambda reply: read_reply(reply, _Check, longest=MAX_REPLY),
    )
    if answer.value is None:
        return f"it could not be checked: {answer.failure}"[:MAX_REASON]
    return f"it says more than its facts: {answer.value.what}"[:MAX_REASON] if answer.value.says_more else ""
