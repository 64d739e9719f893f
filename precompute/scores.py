"""The scoring stage: every name is tried on references that its namer did not see, into ``scores.jsonl``.

Owns which references make a trial, who judges, and what is scored already. Must not know how a judge decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .config import Config
from .dataset import Dataset
from .files import read_jsonl, write_jsonl
from .held_out import Trial, choose_negatives, choose_positives, held_out_half, similar_channels
from .llm import LlmClient
from .naming import ConceptEvidence, Namer
from .oracle import PartsJudge
from .provenance import digest_of
from .records import Atlas, Concept, ConceptName, Reference
from .reporting import Reporter
from .scoring import Judge, LlmJudge, score_names
from .store import ReferenceReader
from .truth import KnowsParts
from .workspace import Workspace

N_POSITIVES = 8
N_NEGATIVES = 8
SCORES_VERSION = 1
"""Raise it when the same names are scored in another way."""


def can_score(config: Config, dataset: Dataset) -> bool:
    """Tell whether there is anybody to judge names: a language model, or a data set that knows what it shows."""
    return config.llm.enabled or isinstance(dataset, KnowsParts)


class ScoreStage:
    """Scores the names of one atlas.

    Parameters
    ----------
    config : Config
    dataset : Dataset
    workspace : Workspace
    reporter : Reporter
    """

    def __init__(self, config: Config, dataset: Dataset, workspace: Workspace, reporter: Reporter) -> None:
        self._config, self._dataset, self._workspace, self._reporter = config, dataset, workspace, reporter

    def run(self, atlas: Atlas, references_digest: str, namer: Namer) -> None:
        """Score every name; with nobody to judge, nothing is written.

        Parameters
        ----------
        atlas : Atlas
        references_digest : str
        namer : Namer
            Names again from the held-out half, for the stability.

        Raises
        ------
        NamerError
            The language model cannot be used.
        """
        if not can_score(self._config, self._dataset):
            self._reporter.say("note      names are not scored: that needs a language model (docs/llm.md)")
            return
        names = {name.concept: name for name in read_jsonl(self._workspace.names, ConceptName)}
        said = sorted((name.concept, name.name, name.second_name) for name in names.values())
        llm = [self._config.llm.model, self._config.llm.base_url] if self._config.llm.enabled else ["masks"]
        digest = digest_of([SCORES_VERSION, references_digest, said, *llm])
        if self._workspace.scores.exists() and self._workspace.recall("scores") == digest:
            self._reporter.say(f"kept      {self._workspace.scores} (nothing to score)")
            return
        trials, evidence = self._trials(atlas)
        with self._reporter.track("scores", len(trials), unit="concept") as advance:
            again = {name.concept: name for name in namer.name(evidence)}
            scores = []
            for score in score_names(names, trials, self._judge(), other_names=again, seed=self._config.seed):
                scores.append(score)
                advance(1)
        write_jsonl(self._workspace.scores, scores)
        self._workspace.remember("scores", digest)
        scored = [score for score in scores if not score.failure]
        mean = sum(score.auprc for score in scored) / max(len(scored), 1)
        shuffled = sum(score.shuffled_auprc for score in scored) / max(len(scored), 1)
        found = f"mean AUPRC {mean:.2f} (with another concept's name {shuffled:.2f})"
        self._reporter.say(f"scored    {self._workspace.scores}: {len(scored)} names, {found}")

    def _judge(self) -> Judge:
        if self._config.llm.enabled:
            return LlmJudge(LlmClient(self._config.llm, self._workspace.llm_cache, seed=self._config.seed))
        assert isinstance(self._dataset, KnowsParts), "can_score was asked before"
        return PartsJudge(self._dataset.part_masks, self._dataset.part_words)

    def _trials(self, atlas: Atlas) -> tuple[list[Trial], list[ConceptEvidence]]:
        trials, evidence = [], []
        with ReferenceReader(self._workspace.references) as reader:
            by_layer: dict[str, dict[int, list[Reference]]] = {}
            for concept in reader.concepts():
                by_layer.setdefault(concept.layer, {})[concept.channel] = reader.read(concept, "relmax")
            for concept, trial in _layer_trials(atlas, reader, by_layer, self._config.seed):
                trials.append(trial)
                relmax, actmax = by_layer[concept.layer][concept.channel], reader.read(concept, "actmax")
                labels = _labels((*relmax, *actmax), atlas)
                evidence.append(ConceptEvidence(concept, held_out_half(relmax), held_out_half(actmax), labels))
        return trials, evidence


def _layer_trials(
    atlas: Atlas, reader: ReferenceReader, by_layer: Mapping[str, Mapping[int, list[Reference]]], seed: int
) -> Iterator[tuple[Concept, Trial]]:
    for layer, references in by_layer.items():
        tables = atlas.layers[layer]
        similarity = similar_channels(tables)
        for channel, relmax in references.items():
            concept = Concept(layer, channel)
            positives = choose_positives(relmax, reader.read(concept, "actmax"), N_POSITIVES)
            negatives, n_hard = choose_negatives(concept, tables, similarity, references, N_NEGATIVES, seed)
            yield concept, Trial(concept, positives, negatives, n_hard)


def _labels(references: tuple[Reference, ...], atlas: Atlas) -> dict[int, str]:
    """Class names by sample_index, for the offline namer."""
    targets = {reference.sample_index: int(atlas.samples.target[reference.sample_index]) for reference in references}
    return {index: atlas.class_names[target] for index, target in targets.items() if target >= 0}
