"""The naming stage: evidence out of the store, names into ``names.jsonl``.

Owns which namer is used, what is named already, and that people's corrections win. Must not know how a name is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .config import Config
from .files import read_jsonl, write_jsonl
from .llm import LlmClient
from .naming import ConceptEvidence, LlmNamer, Namer
from .offline_naming import OfflineNamer
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
    """

    def __init__(self, config: Config, workspace: Workspace, reporter: Reporter) -> None:
        self._config, self._workspace, self._reporter = config, workspace, reporter

    def run(self, atlas: Atlas, references_digest: str) -> None:
        """Name every concept that has no name yet, and put people's corrections on top.

        Raises
        ------
        NamerError
            The language model cannot be used: no key, cost limit, no server.
        """
        digest = self._digest(references_digest)
        corrections = {name.concept: name for name in read_jsonl(self._workspace.corrections, ConceptName)}
        state = digest_of([digest, sorted((name.concept, name.name, name.date) for name in corrections.values())])
        if self._workspace.names.exists() and self._workspace.recall("names") == state:
            self._reporter.say(f"kept      {self._workspace.names} (nothing to name)")
            return
        found = {name.concept: name for name in self._name_all(atlas)}
        order = [Concept(layer, channel).key for layer, tables in atlas.layers.items()
                 for channel in range(tables.info.n_channels)]  # fmt: skip
        names = [corrections.get(key) or found.get(key) or _without_references(key) for key in order]
        write_jsonl(self._workspace.names, names)
        self._workspace.remember("names", state)
        n_failed = sum(1 for name in names if name.failure)
        self._reporter.say(
            f"named     {self._workspace.names}: {len(names) - n_failed} concepts, {n_failed} without a name"
        )

    def _digest(self, references_digest: str) -> str:
        llm = self._config.llm
        namer = [llm.model, llm.base_url] if llm.enabled else ["offline", OFFLINE_VERSION]
        return digest_of([references_digest, self._config.explaining.language, *namer])

    def _name_all(self, atlas: Atlas) -> Iterator[ConceptName]:
        namer = self._namer(atlas)
        with ReferenceReader(self._workspace.references) as reader:
            evidence = [self._evidence(reader, concept, atlas) for concept in reader.concepts()]
        with self._reporter.track("names", len(evidence), unit="concept") as advance:
            for name in namer.name(evidence):
                advance(1)
                yield name

    def _namer(self, atlas: Atlas) -> Namer:
        side = self._config.preprocessing.crop
        if self._config.llm.enabled:
            client = LlmClient(self._config.llm, self._workspace.llm_cache, seed=self._config.seed)
            return LlmNamer(client, input_size=side, language=self._config.explaining.language, date=today())
        counts = zip(atlas.class_names, atlas.class_counts.tolist(), strict=True)
        labels: Counter[str] = Counter()
        for class_name, count in counts:
            labels[class_name] += count
        return OfflineNamer({name: n for name, n in labels.items() if n}, (side, side), today())

    @staticmethod
    def _evidence(reader: ReferenceReader, concept: Concept, atlas: Atlas) -> ConceptEvidence:
        relmax, actmax = tuple(reader.read(concept, "relmax")), tuple(reader.read(concept, "actmax"))
        labels = {
            reference.sample_index: atlas.class_names[int(atlas.samples.target[reference.sample_index])]
            for reference in (*relmax, *actmax)
            if atlas.samples.target[reference.sample_index] != EMPTY
        }
        return ConceptEvidence(concept, relmax, actmax, labels)


def _without_references(key: str) -> ConceptName:
    """Record a concept that carried nothing in any sample."""
    return ConceptName(key, "", "", "offline", failure="no relevance and no activation in any sample", date=today())
