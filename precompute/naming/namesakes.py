"""Channels of one layer that got the same name, asked about once more together: what tells them apart, if anything.

Owns which names form a group, the request for a group and the checks of its reply. What stays the same stays the same:
equal names of one layer are a family. Must not know HTTP, files or pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from precompute.errors import ReplyError
from precompute.images.contact_sheet import rows_sheet
from precompute.llm.asking import ask_all, ask_twice
from precompute.llm.prompts import Prompt, load_prompt
from precompute.llm.request import LanguageModel, Request
from precompute.llm.schema import describe_fields, read_reply, strict_schema
from precompute.records import Concept, ConceptName, LocalName

from .namer import LANGUAGE, ConceptEvidence, name_of_language
from .rules import MAX_NAME, MAX_WORDS, checked_names, kept_names

MAX_ROWS = 8
"""Channels of one request; a larger group is asked about in parts of this size."""
N_SHOWN = 4
"""Reference images of each channel."""

Group = tuple[ConceptName, ...]


class _RowName(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    row: int = Field(description="Number of the row.")
    name: str = Field(description=f"At most {MAX_WORDS} words and {MAX_NAME} characters.")


class _LocalRowName(_RowName):
    local_name: str = Field("", description="The same name in the language of the texts.")


class NamesakesReply(BaseModel):
    """The reply about a group; the schema on the wire and the words of the prompt are rendered from it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    differences: str = Field(
        "", description="What each row shows that others do not; one or two sentences. Look first."
    )
    names: list[_RowName] = Field(description="One name for each row; the old one where nothing tells the row apart.")


class LocalNamesakesReply(NamesakesReply):
    """The reply where texts are in another language than names are: the names in that language too."""

    names: list[_LocalRowName] = Field(  # type: ignore[assignment]
        description="One name for each row; the old one where nothing tells the row apart."
    )


def groups_of(names: Iterable[ConceptName]) -> list[Group]:
    """Collect what has the same name in the same layer, in the order of the names; nothing that people named."""
    found: dict[tuple[str, str], list[ConceptName]] = {}
    for name in names:
        if name.is_named and name.by.kind == "llm":
            found.setdefault((Concept.parse(name.concept).layer, name.title.casefold()), []).append(name)
    parts = (
        tuple(group[start : start + MAX_ROWS]) for group in found.values() for start in range(0, len(group), MAX_ROWS)
    )
    return [part for part in parts if len(part) > 1]


class Namesakes:
    """Asks a language model what tells channels of the same name apart.

    Parameters
    ----------
    model : LanguageModel
    language : str
        Code of the language of the texts, in which names are asked for besides.
    """

    def __init__(self, model: LanguageModel, language: str = LANGUAGE) -> None:
        self.prompt: Prompt = load_prompt("telling_apart")
        self._model, self._language = model, language
        self._form = NamesakesReply if language == LANGUAGE else LocalNamesakesReply

    def tell_apart(
        self, groups: Sequence[Group], evidence: Callable[[Concept], ConceptEvidence]
    ) -> Iterator[ConceptName]:
        """Yield the names that changed; a group whose replies cannot be used stays as it is.

        Parameters
        ----------
        groups : sequence of Group
        evidence : callable
            Gives what a namer may see of a concept.
        """

        async def ask(group: Group) -> list[ConceptName]:
            shown = [evidence(Concept.parse(name.concept)).relmax[:N_SHOWN] for name in group]
            sheet = await asyncio.to_thread(rows_sheet, shown)
            answer = await ask_twice(
                self._model,
                lambda reason: self._request(group, sheet, reason),
                lambda text: read_namesakes_reply(text, group, self._form),
            )
            told = answer.value or [(name.name, "") for name in group]
            return [self._renamed(old, *new) for old, new in zip(group, told, strict=True) if new[0] != old.name]

        for changed in ask_all(self._model, groups, ask):
            yield from changed

    def _renamed(self, old: ConceptName, name: str, local_name: str) -> ConceptName:
        """Put a new name; the old one's in other languages goes, so that no text says what was taken back."""
        second = old.in_language(self._language).second_name if old.second_name else ""
        local = (LocalName(self._language, local_name, second),) if local_name else ()
        return replace(old, name=name, local_names=local)

    def _request(self, group: Group, sheet: bytes, reason: str) -> Request:
        system, user = self.prompt.render(
            name=group[0].title,
            n_rows=len(group),
            fields=describe_fields(self._form),
            local_language=name_of_language(self._language) if self._language != LANGUAGE else "",
            reason=reason,
        )
        return Request("telling_apart", system, user, (sheet,), strict_schema(self._form))


def read_namesakes_reply(text: str, group: Group, form: type[NamesakesReply] = NamesakesReply) -> list[tuple[str, str]]:
    """Read a reply about a group: for each of its channels, in their order, the name and that in the other language.

    Raises
    ------
    ReplyError
        Not the schema, a row missing, repeated or unknown, or a name that breaks the rules for names.
    """
    reply = read_reply(text, form)
    rows = [found.row for found in reply.names]
    if sorted(rows) != list(range(len(group))):
        raise ReplyError(f"names needs each row from 0 to {len(group) - 1} once; found {sorted(rows)[:20]}")
    by_row = {found.row: found for found in reply.names}
    return [
        (_checked(by_row[row].name, name), _checked_local(getattr(by_row[row], "local_name", "")))
        for row, name in enumerate(group)
    ]


def _checked(told: str, old: ConceptName) -> str:
    return old.name if told.strip().casefold() == old.name.casefold() else checked_names(told, old.second_name)[0]


def _checked_local(told: str) -> str:
    return kept_names(told, "")[0] if told.strip() else ""
