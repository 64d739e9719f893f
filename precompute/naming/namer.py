"""Naming concepts: what a namer is, what it gets to see, and the namer behind a language model.

Owns the naming request and the checks of the naming reply. The request holds pictures and nothing that tells a class:
no label, prediction, file name, layer or channel. Must not know HTTP, files or pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol

from babel import Locale, UnknownLocaleError
from pydantic import BaseModel, ConfigDict, Field

from precompute.errors import ReplyError
from precompute.images.contact_sheet import has_contours, naming_sheet
from precompute.llm.asking import UsableReplyError, ask_all, ask_twice
from precompute.llm.prompts import Prompt, load_prompt
from precompute.llm.request import LanguageModel, Request
from precompute.llm.schema import describe_fields, read_reply, strict_schema
from precompute.llm.text import checked_line
from precompute.records import Author, Concept, ConceptName, LayerInfo, LocalName, Reference
from precompute.records.values import NameKind

from .rules import MAX_DESCRIPTION, MAX_NAME, MAX_WORDS, LongNameError, checked_names, kept_names

MIXED_CONFIDENCE = 0.5
"""At most this where the references fall into two groups: never one confident name."""

NO_REFERENCES = "no reference images to name it from"


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
    info : LayerInfo or None
        Of the concept's layer, by which a neuron's place in the picture is known.
    """

    concept: Concept
    relmax: tuple[Reference, ...]
    actmax: tuple[Reference, ...] = ()
    labels: Mapping[int, str] = field(default_factory=dict)
    info: LayerInfo | None = None


class Namer(Protocol):
    """Gives each concept a name, or says why it has none."""

    author: str

    def name(self, evidence: Sequence[ConceptEvidence]) -> Iterator[ConceptName]:
        """Yield one ConceptName for each piece of evidence, in any order."""
        ...


class NamingReply(BaseModel):
    """The reply to a naming request: the schema on the wire and the words of the prompt are rendered from it.

    A field that a reply lacks is completed; only a name cannot be.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    common: str = Field("", description="What the marked regions of most RelMax columns share; one or two sentences.")
    outliers: list[int] = Field([], description="Numbers of the RelMax columns that do not fit; empty if all do.")
    kind: NameKind = Field(
        "other",
        description=(
            "object: a whole thing. part: a piece of a thing, its outline or rim too. texture: a surface or a repeated "
            "pattern. colour: a colour whatever carries it. scene: a whole setting. mark: writing, a logo, a border, "
            "an artefact. other: none of these."
        ),
    )
    name: str = Field(description=f"At most {MAX_WORDS} words and {MAX_NAME} characters.")
    description: str = Field(
        "", description=f"One or two sentences about what can be seen; at most {MAX_DESCRIPTION} characters."
    )
    second_name: str = Field(
        "", description="Name of the second group, if the columns form two; otherwise an empty text."
    )
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = Field(
        0.0,
        description=(
            "From 0 to 1: how likely a stranger who is given only this name would find these regions among others. "
            "0.9 and more: every column shows it. 0.7: all but one or two do. 0.5: half of them. Below 0.3: a guess."
        ),
    )


class LocalNamingReply(NamingReply):
    """The reply where texts are in another language than names are: the names in that language too."""

    local_name: str = Field(
        "",
        description=f"`name` in the language of the texts, as somebody would say it there; at most {MAX_WORDS} words.",
    )
    local_second_name: str = Field(
        "", description="`second_name` in the language of the texts; empty where that is empty."
    )


EXAMPLE = NamingReply(
    common="The marked region is a round dark disc with a paler hub in all columns but one.",
    outliers=[5],
    kind="part",
    name="wheel with bright hub",
    description="A round dark disc with a paler hub, at the lower edge of something that stands on the ground.",
    second_name="",
    confidence=0.8,
)
"""One whole reply, shown in the prompt; it passes the checks that it teaches."""

LOCAL_EXAMPLES = {"de": "Rad mit heller Nabe", "fr": "roue au moyeu clair", "es": "rueda con centro claro"}
"""`EXAMPLE.name` in other languages; the example leaves out the name in any other one."""

LANGUAGE = "en"
"""Of names and descriptions: pages are in English. Names are asked for in the language of the texts besides."""


class LlmNamer:
    """Names concepts by a language model, one request for each.

    Parameters
    ----------
    model : LanguageModel
    input_size : int
        Side of the preprocessed input in pixels.
    language : str
        Code of the language of the texts: where it is not English, each name is asked for in it besides.
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
        language: str = LANGUAGE,
        date: str = "",
        prompt: Prompt | None = None,
    ) -> None:
        self.author = str(Author.of_model(model.model))
        self.prompt = prompt or load_prompt("naming")
        self._model, self._input_size, self._language, self._date = model, input_size, language, date
        self._form = NamingReply if language == LANGUAGE else LocalNamingReply

    def name(self, evidence: Sequence[ConceptEvidence]) -> Iterator[ConceptName]:
        """Yield a name or a failure record for each concept, as the replies come."""
        return ask_all(self._model, evidence, self.name_one)

    async def name_one(self, evidence: ConceptEvidence) -> ConceptName:
        """Name one concept, asking at most twice."""
        key = evidence.concept.key
        if not evidence.relmax:
            return self._record(key, failure=NO_REFERENCES)
        sheet = await asyncio.to_thread(naming_sheet, evidence.relmax, evidence.actmax, self._input_size, evidence.info)
        answer = await ask_twice(
            self._model,
            lambda reason: self._request(evidence, sheet, reason),
            lambda text: read_naming_reply(text, len(evidence.relmax), self._form),
        )
        if answer.value is None:
            return self._record(key, raw=answer.raw, failure=answer.failure)
        return self._record(key, answer.value, answer.raw)

    def requests(self, evidence: Iterable[ConceptEvidence]) -> Iterator[Request]:
        """Yield the first request for each concept: for an estimate, or for a batch."""
        for piece in evidence:
            if piece.relmax:
                yield self._request(piece, naming_sheet(piece.relmax, piece.actmax, self._input_size, piece.info), "")

    def _request(self, evidence: ConceptEvidence, sheet: bytes, reason: str) -> Request:
        system, user = self.prompt.render(
            n_relmax=len(evidence.relmax),
            n_actmax=len(evidence.actmax),
            has_contours=has_contours(evidence.relmax),
            has_places=evidence.info is not None and evidence.info.receptive_field is not None,
            fields=describe_fields(self._form),
            example=self._example(),
            local_language=name_of_language(self._language) if self._language != LANGUAGE else "",
            reason=reason,
        )
        return Request("naming", system, user, (sheet,), strict_schema(self._form))

    def _example(self) -> str:
        """Write one whole reply of the form that is asked for."""
        given = EXAMPLE.model_dump()
        if self._form is LocalNamingReply:
            given["local_name"] = LOCAL_EXAMPLES.get(self._language, "")
        return self._form.model_validate(given).model_dump_json()

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
            language=LANGUAGE,
            local_names=self._local_names(reply),
        )

    def _local_names(self, reply: NamingReply) -> tuple[LocalName, ...]:
        """Take the names in the language of the texts, where they are whole."""
        if not isinstance(reply, LocalNamingReply) or not reply.local_name:
            return ()
        return (LocalName(self._language, reply.local_name, reply.local_second_name),)


def name_of_language(code: str) -> str:
    """Return the English name of a language: ``German`` for ``de``; the code where nobody knows it."""
    try:
        return Locale.parse(code.replace("-", "_")).get_display_name(LANGUAGE) or code
    except (UnknownLocaleError, ValueError):
        return code


def read_naming_reply(text: str, n_relmax: int, form: type[NamingReply] = NamingReply) -> NamingReply:
    """Read and check a naming reply.

    Parameters
    ----------
    text : str
        As the model wrote it.
    n_relmax : int
        RelMax reference images that it was shown.
    form : type of NamingReply
        What was asked for.

    Raises
    ------
    ReplyError
        The reason, fit for being shown to the model and to people.
    """
    reply = read_reply(text, form)
    changes: dict[str, object] = {
        "description": checked_line(reply.description, "description", longest=MAX_DESCRIPTION),
        "common": checked_line(reply.common, "common", longest=MAX_DESCRIPTION),
        "outliers": _checked_outliers(reply.outliers, n_relmax),
    }
    if isinstance(reply, LocalNamingReply):
        changes |= _checked_local(reply)
    try:
        name, second = checked_names(reply.name, reply.second_name)
    except LongNameError as error:
        # Right but long: asked for shorter, and kept as it is where no shorter one comes.
        long = changes | {"name": error.names[0], "second_name": error.names[1]}
        reason = f"{error}: say {max(error.names, key=len)!r} in fewer words, and keep all else as it is"
        raise UsableReplyError(reason, reply.model_copy(update=long)) from None
    return reply.model_copy(update=changes | {"name": name, "second_name": second})


def _checked_local(reply: LocalNamingReply) -> dict[str, object]:
    """Check the names in the language of the texts; one that lacks its counterpart gives way to the English one."""
    if not reply.local_name.strip() or bool(reply.second_name.strip()) != bool(reply.local_second_name.strip()):
        return {"local_name": "", "local_second_name": ""}
    try:
        name, second = kept_names(reply.local_name, reply.local_second_name)
    except ReplyError as error:
        raise ReplyError(f"of the names in the other language: {error}") from None
    return {"local_name": name, "local_second_name": second}


def _checked_outliers(outliers: list[int], n_relmax: int) -> list[int]:
    unknown = [rank for rank in outliers if not 0 <= rank < n_relmax]
    if unknown:
        raise ReplyError(f"outliers names tile {unknown[0]}, which was not shown; there are 0 to {n_relmax - 1}")
    if len(set(outliers)) != len(outliers):
        raise ReplyError("outliers names a tile twice")
    if n_relmax > 1 and len(outliers) == n_relmax:
        raise ReplyError("outliers names every tile; then the name fits none of them")
    return sorted(outliers)
