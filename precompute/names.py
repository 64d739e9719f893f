"""The naming stage: evidence out of the store, names into ``names.jsonl``.

Owns which namer is used, what is named already, and that people's corrections win. Must not know how a name is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .config import Config
from .corrections import export_names, import_corrections, merge_names
from .errors import StoreError
from .files import read_jsonl, write_jsonl
from .held_out import seen_half
from .llm import LlmClient
from .naming import ConceptEvidence, LlmNamer, Namer
from .offline_naming import OfflineNamer
from .prompting import load_prompt
from .provenance import digest_of, today
from .records import EMPTY, Atlas, Concept, ConceptName
from .reporting import Reporter
from .store import ReferenceReader
from .workspace import Workspace

OFFLINE_VERSION = 1
"""Raise it when the offline namer finds other names from the same evidence."""


class NameStage:
    """Names the concepts of one atlas.

    Parameters
    ----------
    config : Config
    workspace : Workspace
    reporter : Reporter
    hold_out : bool
        Show the namer only the better half of the references, so that its names can be scored on the others.
    """

    def __init__(self, config: Config, workspace: Workspace, reporter: Reporter, *, hold_out: bool = False) -> None:
        self._config, self._workspace, self._reporter = config, workspace, reporter
        self._hold_out = hold_out

    def run(self, atlas: Atlas, references_digest: str) -> None:
        """Name every concept that has no name yet, and put people's corrections on top.

        Raises
        ------
        NamerError
            The language model cannot be used: no key, cost limit, no server.
        """
        digest = self._digest(references_digest)
        corrections = read_jsonl(self._workspace.corrections, ConceptName)
        state = digest_of([digest, sorted((name.concept, name.name, name.date) for name in corrections)])
        if self._workspace.names.exists() and self._workspace.recall("names") == state:
            self._reporter.say(f"kept      {self._workspace.names} (nothing to name)")
            return
        missing = [_without_references(key) for key in _keys(atlas)]
        names = list(merge_names(missing, self._name_all(atlas), corrections).values())
        write_jsonl(self._workspace.names, names)
        self._workspace.remember("names", state)
        n_failed = sum(1 for name in names if name.failure)
        self._reporter.say(
            f"named     {self._workspace.names}: {len(names) - n_failed} concepts, {n_failed} without a name"
        )

    def export(self, path: Path) -> None:
        """Write the names as a CSV that people can correct."""
        export_names(path, self._named().values())
        self._reporter.say(f"exported  {path}")

    def import_from(self, path: Path, author: str) -> None:
        """Take a corrected CSV; the corrections survive every renaming.

        Raises
        ------
        DataError
            The table is not of the right form; names the line, and nothing is changed.
        """
        names = self._named()
        new = import_corrections(path, names, author=author, date=today())
        kept = read_jsonl(self._workspace.corrections, ConceptName)
        merged = merge_names(kept, new)
        write_jsonl(self._workspace.corrections, list(merged.values()))
        write_jsonl(self._workspace.names, list(merge_names(names.values(), merged.values()).values()))
        self._reporter.say(f"imported  {len(new)} corrections from {path}; run `atlas run` to put them on the pages")

    def _named(self) -> dict[str, ConceptName]:
        if not self._workspace.names.exists():
            raise StoreError(f"there is no {self._workspace.names}: run `atlas name` with the same config first")
        return {name.concept: name for name in read_jsonl(self._workspace.names, ConceptName)}

    def _digest(self, references_digest: str) -> str:
        llm = self._config.llm
        prompt = load_prompt("naming").digest
        namer = [llm.model, llm.base_url, prompt] if llm.enabled else ["offline", OFFLINE_VERSION]
        return digest_of([references_digest, self._hold_out, self._config.explaining.language, *namer])

    def _name_all(self, atlas: Atlas) -> Iterator[ConceptName]:
        namer = self.make_namer(atlas)
        with ReferenceReader(self._workspace.references) as reader:
            evidence = [self._evidence(reader, concept, atlas) for concept in reader.concepts()]
        with self._reporter.track("names", len(evidence), unit="concept") as advance:
            for name in namer.name(evidence):
                advance(1)
                yield name

    def make_namer(self, atlas: Atlas) -> Namer:
        """Make the namer that the config asks for; raises NamerError where its language model cannot be used."""
        side = self._config.preprocessing.crop
        if self._config.llm.enabled:
            client = LlmClient(self._config.llm, self._workspace.llm_cache, seed=self._config.seed)
            return LlmNamer(client, input_size=side, language=self._config.explaining.language, date=today())
        counts = zip(atlas.class_names, atlas.class_counts.tolist(), strict=True)
        labels: Counter[str] = Counter()
        for class_name, count in counts:
            labels[class_name] += count
        return OfflineNamer({name: n for name, n in labels.items() if n}, (side, side), today())

    def _evidence(self, reader: ReferenceReader, concept: Concept, atlas: Atlas) -> ConceptEvidence:
        relmax, actmax = tuple(reader.read(concept, "relmax")), tuple(reader.read(concept, "actmax"))
        labels = {
            reference.sample_index: atlas.class_names[int(atlas.samples.target[reference.sample_index])]
            for reference in (*relmax, *actmax)
            if atlas.samples.target[reference.sample_index] != EMPTY
        }
        if self._hold_out:
            relmax, actmax = seen_half(relmax), seen_half(actmax)
        return ConceptEvidence(concept, relmax, actmax, labels)


def _keys(atlas: Atlas) -> list[str]:
    return [
        Concept(layer, channel).key
        for layer, tables in atlas.layers.items()
        for channel in range(tables.info.n_channels)
    ]


def _without_references(key: str) -> ConceptName:
    """Record a concept that carried nothing in any sample."""
    return ConceptName(key, "", "", "offline", failure="no relevance and no activation in any sample", date=today())
