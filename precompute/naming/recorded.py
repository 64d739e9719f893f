"""Names that a language model gave at an earlier time and that ship with the project.

Owns the file of recorded names and the rule where they may be used: the weights and the reference samples have to be
those that were named. Must not know models, configs or how a sheet is drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from precompute.atlas.files import write_text
from precompute.records import Atlas, Concept, ConceptName
from precompute.records.values import NameKind

from .namer import ConceptEvidence, Namer

PATH = Path(__file__).with_name("recorded_names.jsonl")
LANGUAGE = "en"
"""Of the recorded names."""


@dataclass(frozen=True)
class Recording:
    """The first line of the file: what was named, by whom, when.

    Attributes
    ----------
    author, date : str
        As `ConceptName` has them.
    weights_digest : str
        Of the network, as in the provenance of its atlas.
    dataset_kind : str
        As in the config of the atlas; sample names mean nothing without it.
    prompt_digest : str
    note : str
        How the names came about, for readers.
    """

    author: str
    date: str
    weights_digest: str
    dataset_kind: str
    prompt_digest: str
    note: str


@dataclass(frozen=True)
class RecordedName:
    """One name, with the samples that it was given for; the other fields as in `ConceptName`.

    Attributes
    ----------
    n_samples : int
        RelMax reference images that the namer saw: the best ones.
    samples : str
        Digest of their names, in any order; see `digest_samples`.
    """

    concept: str
    n_samples: int
    samples: str
    name: str
    description: str
    kind: NameKind
    confidence: float
    common: str
    second_name: str = ""
    outliers: tuple[int, ...] = ()


@dataclass(frozen=True)
class RecordedNames:
    """The whole file.

    Attributes
    ----------
    recording : Recording
    names : mapping of concept key to RecordedName
    digest : str
        SHA-256 of the file.
    """

    recording: Recording
    names: Mapping[str, RecordedName]
    digest: str

    def fit(self, atlas: Atlas) -> bool:
        """Tell whether an atlas is of the network and the kind of data set that was named."""
        provenance = atlas.provenance
        kind = provenance.get("config", {}).get("dataset", {}).get("kind")
        found = (provenance.get("weights_digest"), kind)
        return found == (self.recording.weights_digest, self.recording.dataset_kind)

    def name_of(self, concept: Concept, atlas: Atlas) -> ConceptName | None:
        """Return the name of a concept; None where none was recorded, or for other reference samples."""
        found = self.names.get(concept.key)
        samples = best_samples(atlas, concept, found.n_samples) if found else []
        if found is None or not samples or digest_samples(samples) != found.samples:
            return None
        return ConceptName(
            found.concept,
            found.name,
            found.description,
            self.recording.author,
            kind=found.kind,
            confidence=found.confidence,
            second_name=found.second_name,
            common=found.common,
            outliers=found.outliers,
            prompt_digest=self.recording.prompt_digest,
            date=self.recording.date,
            recorded=True,
            language=LANGUAGE,
        )


class RecordedNamer:
    """Gives recorded names where they fit, and asks another namer for all other concepts.

    Parameters
    ----------
    recorded : RecordedNames
    atlas : Atlas
        Its rankings say whether a concept's reference samples are those that were named.
    otherwise : Namer
    """

    def __init__(self, recorded: RecordedNames, atlas: Atlas, otherwise: Namer) -> None:
        self.author = recorded.recording.author
        self._recorded, self._atlas, self._otherwise = recorded, atlas, otherwise

    def name(self, evidence: Sequence[ConceptEvidence]) -> Iterator[ConceptName]:
        """Yield a name for each concept, in order."""
        for item in evidence:
            found = self._recorded.name_of(item.concept, self._atlas)
            if found is not None:
                yield found
            else:
                yield from self._otherwise.name([item])


def best_samples(atlas: Atlas, concept: Concept, n: int) -> list[str]:
    """List the names of a concept's n best RelMax reference samples; fewer where no more show it."""
    table = atlas.layers[concept.layer].relmax
    shown = table.sample_index[:n, concept.channel][table.telling(n)[:, concept.channel]]
    return [atlas.samples.name[index] for index in shown.tolist()]


def digest_samples(names: Iterable[str]) -> str:
    """Digest the names of reference samples in 16 hexadecimal digits, whatever their order."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]


def load_recorded(path: Path = PATH) -> RecordedNames:
    """Read the names that ship with the project."""
    content = path.read_bytes()
    head, *lines = content.splitlines()
    record = TypeAdapter(RecordedName)
    names = [record.validate_json(line) for line in lines]
    recording = TypeAdapter(Recording).validate_json(head)
    return RecordedNames(recording, {name.concept: name for name in names}, hashlib.sha256(content).hexdigest())


def record_names(path: Path, recording: Recording, names: Iterable[ConceptName], atlas: Atlas, n_samples: int) -> None:
    """Write names as a file that `load_recorded` reads.

    Parameters
    ----------
    path : Path
    recording : Recording
    names : iterable of ConceptName
        Failures are left out.
    atlas : Atlas
        Whose concepts were named.
    n_samples : int
        RelMax reference images that the namer saw, where there were as many.
    """
    known = {name.concept: name for name in names if name.is_named}
    lines: list[object] = [recording]
    for concept in atlas.concepts():
        name = known.get(concept.key)
        if name is None:
            continue
        samples = best_samples(atlas, concept, n_samples)
        digest = digest_samples(samples)
        lines.append(
            RecordedName(
                name.concept,
                len(samples),
                digest,
                name.name,
                name.description,
                name.kind,
                name.confidence,
                name.common,
                name.second_name,
                name.outliers,
            )
        )
    write_text(
        path, "".join(TypeAdapter(type(line)).dump_json(line, exclude_defaults=True).decode() + "\n" for line in lines)
    )
