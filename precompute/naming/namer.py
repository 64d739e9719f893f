"""Naming concepts: what a namer is, what it gets to see, and the namer behind a language model.

Owns the naming request and the checks of the naming reply. The request holds pictures and nothing that tells a class:
no label, prediction, file name, layer or channel. Must not know HTTP, files or pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from precompute.atlas.records import Author, Concept, ConceptName, Reference
from precompute.atlas.values import NameKind
from precompute.errors import ReplyError
from precompute.images.contact_sheet import naming_sheet
from precompute.llm.asking import ask_all, ask_twice
from precompute.llm.prompts import Prompt, load_prompt
from precompute.llm.request import LanguageModel, Request
from precompute.llm.text import checked_line

from .rules import checked_names

MAX_DESCRIPTION = 400
MIXED_CONFIDENCE = 0.5
"""At most this where the references fall into two groups: never one confident name."""

NO_REFERENCES = "no reference images to name it from"

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class ConceptEvidence:
    """What a namer may rest a name on.

    Attributes
    ----------
    concept : Concept
    relmax, actmax : tuple of Reference
        By rank; the held-out ones are not among them.
    labels : mapping of int to str
        Class name by sample_index; for the offline namer only, never sent to a language model.
    """

    concept: Concept
    relmax: tuple[Reference, ...]
    actmax: tuple[Reference, ...] = ()
    labels: Mapping[int, str] = field(default_factory=dict)


class Namer(Protocol):
    """Gives each concept a name, or says why it has none."""

    author: str

    def name(self, evidence: Sequence[ConceptEvidence]) -> Iterator[ConceptName]:
        """Yield one ConceptName for each piece of evidence, in any order."""
        ...


class NamingReply(BaseModel):
    """The reply to a naming request, as the schema in ``prompts/naming.md.j2`` asks for it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    description: str
    kind: NameKind
    common: str
    outliers: list[int]
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    second_name: str


class LlmNamer:
    """Names concepts by a language model, one request for each.

    Parameters
    ----------
    model : LanguageModel
    input_size : int
        Side of the preprocessed input in pixels.
    language : str
        Of the names, by its English name or code.
    date : str
        ISO date to put on the names.
    prompt : Prompt, optional
        Instead of ``prompts/naming.md.j2``.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        input_size: int,
        language: str = "English",
        date: str = "",
        prompt: Prompt | None = None,
    ) -> None:
        self.author = str(Author("llm", model.model))
        self.prompt = prompt or load_prompt("naming")
        self._model, self._input_size, self._language, self._date = model, input_size, language, date

    def name(self, evidence: Sequence[ConceptEvidence]) -> Iterator[ConceptName]:
        """Yield a name or a failure record for each concept, as the replies come."""
        return ask_all(self._model, evidence, self.name_one)

    async def name_one(self, evidence: ConceptEvidence) -> ConceptName:
        """Name one concept, asking at most twice."""
        key = evidence.concept.key
        if not evidence.relmax:
            return self._record(key, failure=NO_REFERENCES)
        sheet = await asyncio.to_thread(naming_sheet, evidence.relmax, evidence.actmax, self._input_size)
        answer = await ask_twice(
            self._model,
            lambda reason: self._request(evidence, sheet, reason),
            lambda text: read_naming_reply(text, len(evidence.relmax)),
        )
        if answer.value is None:
            return self._record(key, raw=answer.raw, failure=answer.failure)
        return self._record(key, answer.value, answer.raw)

    def requests(self, evidence: Iterable[ConceptEvidence]) -> Iterator[Request]:
        """Yield the first request for each concept: for an estimate, or for a batch."""
        for piece in evidence:
            if piece.relmax:
                yield self._request(piece, naming_sheet(piece.relmax, piece.actmax, self._input_size), "")

    def _request(self, evidence: ConceptEvidence, sheet: bytes, reason: str) -> Request:
        system, user = self.prompt.render(
            n_relmax=len(evidence.relmax),
            n_actmax=len(evidence.actmax),
            has_masks=any(reference.masked for reference in evidence.relmax),
            language=self._language,
            reason=reason,
        )
        return Request("naming", system, user, (sheet,), self.prompt.schema)

    def _record(self, key: str, reply: NamingReply | None = None, raw: str = "", failure: str = "") -> ConceptName:
        digest = self.prompt.digest
        if reply is None:
            return ConceptName(
                key, "", "", self.author, prompt_digest=digest, raw_reply=raw, failure=failure, date=self._date
            )
        return ConceptName(
            key,
            reply.name,
            reply.description,
            self.author,
            kind=reply.kind,
            confidence=min(reply.confidence, MIXED_CONFIDENCE) if reply.second_name else reply.confidence,
            second_name=reply.second_name,
            common=reply.common,
            outliers=tuple(reply.outliers),
            prompt_digest=digest,
            raw_reply=raw,
            date=self._date,
        )


def read_naming_reply(text: str, n_relmax: int) -> NamingReply:
    """Read and check a naming reply.

    Parameters
    ----------
    text : str
        As the model wrote it.
    n_relmax : int
        RelMax reference images that it was shown.

    Raises
    ------
    ReplyError
        The reason, fit for being shown to the model and to people.
    """
    reply = read_reply(text, NamingReply)
    name, second = checked_names(reply.name, reply.second_name)
    description = checked_line(reply.description, "description", longest=MAX_DESCRIPTION)
    if not description:
        raise ReplyError("description is empty")
    common = checked_line(reply.common, "common", longest=MAX_DESCRIPTION)
    changes = {"name": name, "second_name": second, "description": description, "common": common}
    return reply.model_copy(update=changes | {"outliers": _checked_outliers(reply.outliers, n_relmax)})


def read_reply(text: str, model: type[Model]) -> Model:
    """Read the JSON of a reply as a typed record; raises ReplyError with the first thing that is wrong."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
    if detail["type"] == "json_invalid":
        raise ReplyError("the reply is not valid JSON, or was cut off; reply with one JSON object and nothing else")
    where = ".".join(str(part) for part in detail["loc"]) or "the reply"
    raise ReplyError(f"the reply does not follow the schema: {where}: {detail['msg']}")


def _checked_outliers(outliers: list[int], n_relmax: int) -> list[int]:
    unknown = [rank for rank in outliers if not 0 <= rank < n_relmax]
    if unknown:
        raise ReplyError(f"outliers names tile {unknown[0]}, which was not shown; there are 0 to {n_relmax - 1}")
    if len(set(outliers)) != len(outliers):
        raise ReplyError("outliers names a tile twice")
    if n_relmax > 1 and len(outliers) == n_relmax:
        raise ReplyError("outliers names every tile; then the name fits none of them")
    return sorted(outliers)
