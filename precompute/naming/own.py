"""A namer of a user's own, held to what every namer owes: one name, or a reason, for each concept.

Owns the checks of what it gives and under whose name that is kept. Must not know how it is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from precompute.atlas.json_records import find_fault
from precompute.errors import AtlasError, NamerError, ReplyError
from precompute.extensions import describe_failure
from precompute.llm.text import clean_line
from precompute.records import ConceptName, LocalName

from .namer import ConceptEvidence, Namer
from .rules import MAX_DESCRIPTION, MAX_NAME, checked_measurement, kept_names

NO_NAME = "the namer said nothing of it"


class OwnNamer:
    """Names concepts by another namer.

    Parameters
    ----------
    address : str
        ``package.module:factory``; the author of all names.
    namer : Namer
        What the factory made.
    date : str
        ISO date.

    Raises
    ------
    NamerError
        It has no method ``name``.
    """

    def __init__(self, address: str, namer: Namer, date: str) -> None:
        if not callable(getattr(namer, "name", None)):
            raise NamerError(f"{address} returned {type(namer).__name__}, which is no namer: it lacks the method name")
        self.author = f"program:{address}"
        self._address, self._namer, self._date = address, namer, date

    def name(self, evidence: Sequence[ConceptEvidence]) -> Iterator[ConceptName]:
        """Name each concept once.

        One of which the namer says nothing, or gives a name that breaks the rules, gets that as its reason.

        Raises
        ------
        NamerError
            It gave something else than names of these concepts, two for one, or a field of a wrong type or range.
        """
        waiting = {item.concept.key for item in evidence}
        for name in self._given(evidence):
            if not isinstance(name, ConceptName):
                raise NamerError(f"{self._address} gave {type(name).__name__}, expected a ConceptName")
            if name.concept not in waiting:
                raise NamerError(
                    f"{self._address} gave a name for {name.concept!r}, which was not asked for or has one already"
                )
            waiting.remove(name.concept)
            yield self._checked(replace(name, author=self.author, date=self._date, recorded=False))
        for item in evidence:
            if item.concept.key in waiting:
                yield ConceptName(item.concept.key, "", "", self.author, failure=NO_NAME, date=self._date)

    def _checked(self, name: ConceptName) -> ConceptName:
        """Hold a name to `rules`, as a language model's: pages and narratives rely on them."""
        if fault := find_fault(name):
            raise NamerError(f"{self._address} gave a wrong name for {name.concept}: {fault}")
        if not name.is_named:
            return replace(name, name="", second_name="", failure=clean_line(name.failure)[:MAX_DESCRIPTION] or NO_NAME)
        try:
            first, second = kept_names(name.name, name.second_name)
            local_names = tuple(
                LocalName(local.language, *kept_names(local.name, local.second_name)) for local in name.local_names
            )
            return replace(
                name,
                name=first,
                second_name=second,
                local_names=local_names,
                description=checked_measurement(name.description, "description"),
                common=checked_measurement(name.common, "common"),
                evidence=tuple(checked_measurement(text, "evidence") for text in name.evidence),
            )
        except ReplyError as error:
            failure = f"the namer said {clean_line(name.title)[:MAX_NAME]!r}: {error}"
            return ConceptName(name.concept, "", "", self.author, failure=failure, date=self._date)

    def _given(self, evidence: Sequence[ConceptEvidence]) -> Iterator[ConceptName]:
        try:
            yield from self._namer.name(evidence)
        except AtlasError:
            raise
        except Exception as error:  # whatever a user's own code raises, the message has to name it
            raise NamerError(f"{self._address} failed: {describe_failure(error)}") from error
