"""Narratives: the words of one explanation for one audience, generated or by a language model.

Owns the order "ask, check, ask once again with the reasons, fall back to the generated text", and the record of what
was refused. Must not know HTTP, files or pages.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from precompute.atlas.records import Narrative, Refusal, Statement
from precompute.errors import ConfigError, NoReplyError, ReplyError
from precompute.explanations.table import ConceptRow, ExplanationTable
from precompute.llm.prompts import Prompt, load_prompt

from .claims import KINDS, Claim, Problem, check
from .drafts import DRAFTS, draft_stakeholder
from .language import Language
from .languages import find_language
from .placeholders import FIELDS, Placeholder, PlaceholderError, printed, render
from .vocabulary import WORDS

logger = logging.getLogger(__name__)

MAX_STATEMENTS = 24
MAX_REPLY = 20_000
"""Characters of a reply; a longer one is not read."""
MAX_REASON = 2_000
KEPT_REPLY = 4_000
N_ATTEMPTS = 2


class Client(Protocol):
    """What is asked of a language model's client."""

    model: str

    async def complete(
        self, *, task: str, system: str, user: str, images: Sequence[bytes] = (), schema: Mapping[str, Any]
    ) -> str:
        """Ask once; the text of the reply."""
        ...


class _StatementReply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    kind: str
    text: str
    cites: list[str]


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    language: str
    statements: list[_StatementReply]


def generate(table: ExplanationTable, audience: str, language: str = "en") -> Narrative:
    """Write a narrative without a language model.

    Parameters
    ----------
    table : ExplanationTable
    audience : str
        One without sentences of its own gets the ones for stakeholders.
    language : str
        One without sentences gets English, and the narrative says so in its `language`.

    Returns
    -------
    Narrative

    Notes
    -----
    The text passes the same checks as a language model's. A sentence that does not is a fault of this project: it is
    left out, recorded among the refusals and logged, so that no reader is told what the table does not support.
    """
    words = find_language(language)
    if not words.sentences:
        words = find_language("en")
    claims = DRAFTS.get(audience, draft_stakeholder)(table, words)
    refusals: list[Refusal] = []
    while claims and (problems := check(claims, table, words)):
        wrong = {problem.position for problem in problems if problem.position >= 0} or set(range(len(claims)))
        refusals += [Refusal(problem.message, _template(claims, problem), 0) for problem in problems]
        claims = [claim for position, claim in enumerate(claims) if position not in wrong]
    for refusal in refusals:
        logger.warning("left out of the generated text for %s: %s", audience, refusal.reason)
    statements = _rendered(claims, table, words)
    return Narrative(audience, "generated", statements, words.code, refusals=tuple(refusals))


def _template(claims: Sequence[Claim], problem: Problem) -> str:
    return claims[problem.position].text if problem.position >= 0 else ""


async def narrate(
    table: ExplanationTable, audience: str, client: Client, language: str = "en", folder: Traversable | None = None
) -> Narrative:
    """Let a language model write a narrative; only what the table supports is let through.

    Parameters
    ----------
    table : ExplanationTable
    audience : str
        Names the prompt file ``explaining/<audience>.md.j2``.
    client : Client
    language : str
        Any; see `wording` for what is checked in which one.
    folder : Traversable, optional
        The folder of prompts; the project's own by default.

    Returns
    -------
    Narrative
        By the model, or the generated one after two refusals; `refusals` holds what was refused.

    Raises
    ------
    ConfigError
        There is no usable prompt for the audience; no call was made.
    NamerError
        No request can be answered: key, model, server or cost limit.
    """
    words = find_language(language)
    prompt = _prompt(audience, folder)
    refusals: list[Refusal] = []
    reason = ""
    for attempt in range(N_ATTEMPTS):
        system, user = prompt.render(**prompt_values(table, words, reason))
        reply = ""
        try:
            reply = await client.complete(task=f"explaining/{audience}", system=system, user=user, schema=prompt.schema)
        except ReplyError as error:
            problems = [Problem("no_reply", str(error))]
            if isinstance(error, NoReplyError):
                return _fallback(table, audience, language, prompt, [*refusals, _refusal(problems, reply, attempt)])
        else:
            claims, problems = read_reply(reply, table, words)
            if not problems:
                statements = _rendered(claims, table, words)
                author = f"llm:{client.model}"
                return Narrative(audience, author, statements, words.code, prompt.digest, tuple(refusals))
        refusals.append(_refusal(problems, reply, attempt))
        reason = refusals[-1].reason
    return _fallback(table, audience, language, prompt, refusals)


def read_reply(reply: str, table: ExplanationTable, language: Language) -> tuple[list[Claim], list[Problem]]:
    """Read a model's reply and check it; either list may be empty, the claims count only without problems."""
    if len(reply) > MAX_REPLY:
        return [], [Problem("reply_too_long", f"the reply has {len(reply)} characters, at most {MAX_REPLY} are read")]
    try:
        read = _Reply.model_validate_json(reply)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        code = "json_invalid" if detail["type"] == "json_invalid" else "schema"
        where = ".".join(map(str, detail["loc"]))
        return [], [Problem(code, f"the reply does not follow the schema at {where or 'its start'}: {detail['msg']}")]
    if find_language(read.language).code != language.code:
        return [], [Problem("language", f"the reply says language {read.language!r}, asked for was {language.code!r}")]
    if len(read.statements) > MAX_STATEMENTS:
        return [], [Problem("too_many", f"{len(read.statements)} statements, at most {MAX_STATEMENTS} are let through")]
    claims = [Claim(item.kind, item.text, tuple(item.cites)) for item in read.statements]
    return claims, check(claims, table, language)


def prompt_values(table: ExplanationTable, language: Language, reason: str = "") -> dict[str, object]:
    """Collect what a prompt file may use; `reason` says why the reply before was refused, empty at first."""
    return {
        "language": language.code,
        "reason": reason[:MAX_REASON],
        "kinds": {name: kind.meaning for name, kind in KINDS.items()},
        "prediction": _values(table, "", "all", language),
        "layers": [_values(table, layer.id, "layer", language) for layer in table.layers],
        "concepts": [_concept(table, row, language) for row in table.concepts],
        "has_runner_up": bool(table.runner_up),
        "negative_score": table.logit < 0,
        "max_statements": MAX_STATEMENTS,
        "words": ", ".join(sorted(WORDS[language.code])) if language.lexicon else "",
    }


def _concept(table: ExplanationTable, row: ConceptRow, language: Language) -> dict[str, object]:
    """Describe one concept; names and descriptions are quoted as JSON, so that they stay data."""
    return {
        "id": row.id,
        "parent": row.parent,
        "values": _values(table, row.id, "concept", language),
        "direction": {1: "sign of the score", -1: "opposite sign", 0: "none"}[row.direction],
        "kind": row.name.kind if row.name else "",
        "description": json.dumps(row.name.description[:400] if row.name else "", ensure_ascii=False),
        "author": row.name.author.partition(":")[0] if row.name else "unnamed",
    }


def _values(table: ExplanationTable, local_id: str, scope: str, language: Language) -> dict[str, str]:
    """Print every placeholder of a scope that has a value, so that a model can reason with the numbers."""
    values = {}
    for name, fields in FIELDS.items():
        if any(field.scope == scope for field in fields):
            written = f"{{{name}:{local_id}}}" if local_id else f"{{{name}}}"
            try:
                values[written] = printed(Placeholder(name, local_id), table, language)
            except PlaceholderError:
                continue
    return values


def _prompt(audience: str, folder: Traversable | None) -> Prompt:
    if not audience.replace("_", "").replace("-", "").isalnum():
        raise ConfigError(f"audience {audience!r}: a name of letters, digits, '-' and '_' was expected")
    return load_prompt(f"explaining/{audience}", folder)


def _rendered(claims: Sequence[Claim], table: ExplanationTable, language: Language) -> tuple[Statement, ...]:
    statements = []
    for claim in claims:
        rows = (row for cited in claim.cites if (row := table.concept(cited)))
        text = render(claim.text, table, language)
        statements.append(Statement(claim.text, text, tuple(dict.fromkeys(row.concept for row in rows))))
    return tuple(statements)


def _refusal(problems: Sequence[Problem], reply: str, attempt: int) -> Refusal:
    return Refusal("; ".join(str(problem) for problem in problems)[:MAX_REASON], reply[:KEPT_REPLY], attempt)


def _fallback(
    table: ExplanationTable, audience: str, language: str, prompt: Prompt, refusals: Sequence[Refusal]
) -> Narrative:
    text = generate(table, audience, language)
    return Narrative(audience, text.author, text.statements, text.language, prompt.digest, tuple(refusals))
