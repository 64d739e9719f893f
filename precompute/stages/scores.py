"""The scoring stage: every name is tried on references that its namer did not see, into ``scores.jsonl``.

Owns which references make a trial, who judges, and what is scored already. Must not know how a judge decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from precompute.atlas.folder import Workspace
from precompute.atlas.hdf5 import ReferenceReader
from precompute.atlas.json_records import write_jsonl
from precompute.config import Config
from precompute.errors import NamerError, StoreError
from precompute.images.dataset import Dataset
from precompute.llm.asking import require_enough
from precompute.llm.client import LlmClient
from precompute.llm.costs import Estimate
from precompute.llm.prompts import load_prompt
from precompute.llm.request import Request
from precompute.naming.held_out import Trial, choose_negatives, choose_positives, similar_channels
from precompute.naming.namer import ConceptEvidence, LlmNamer, Namer
from precompute.naming.scoring import NO_VERDICT, Judge, LlmJudge, questions_of, score_names
from precompute.printing import numbers
from precompute.progress import Reporter
from precompute.records import Atlas, Concept, ConceptName, ConceptScore, Ranking, Reference
from precompute.studies.agreement import wilson
from precompute.studies.choosing import (
    AGAINST,
    ChoiceQuestion,
    Chooser,
    LlmChooser,
    TileChooser,
    choice_questions,
    count_choices,
)
from precompute.studies.rows import Rows
from precompute.world.part_judge import PartsJudge

from .cost_preview import NOT_ENABLED, announce, counted, sampled
from .evidence import StoredEvidence
from .step import Step
from .truth import HasPartMasks

N_POSITIVES = 8
N_NEGATIVES = 8
N_QUESTIONS = 3
"""For each name: itself, another concept's name, and the constant one."""
N_ORDERS = 2
"""How often a language model makes each forced choice, against random rows and against near ones."""
SCORES_VERSION = 2
"""Raise it when the same names are scored in another way."""


def can_score(config: Config, dataset: Dataset) -> bool:
    """Tell whether there is anybody to judge names: a language model, or a data set that knows what it shows."""
    return config.llm.enabled or isinstance(dataset, HasPartMasks)


class ScoreStage:
    """Scores the names of one atlas.

    Parameters
    ----------
    config : Config
    dataset : Dataset
    workspace : Workspace
    reporter : Reporter
    client : LlmClient, optional
        Judges; without it the data set's own truth does, where it has one.
    """

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        workspace: Workspace,
        reporter: Reporter,
        client: LlmClient | None = None,
    ) -> None:
        self._config, self._dataset, self._workspace, self._reporter = config, dataset, workspace, reporter
        self._client = client
        self._choice_failures: tuple[int, list[str]] = (0, [])

    def run(self, atlas: Atlas, namer: Namer) -> None:
        """Score every name; with nobody to judge, nothing is written.

        Parameters
        ----------
        atlas : Atlas
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
        step = self._step()
        if step.is_done():
            self._reporter.say(f"kept      {self._workspace.scores} (nothing to score)")
            return
        names = self._names()
        with ReferenceReader(self._workspace.references) as reader:
            scores = self._score_all(atlas, reader, namer, names)
        write_jsonl(self._workspace.scores, scores)
        step.begin(self._workspace.scores)  # whole; done once enough of it has come
        self._reporter.say(f"scored    {self._workspace.scores}: {describe_scores(scores)}")
        self._require_enough(scores)
        n_choices, reasons = self._choice_failures
        require_enough("choices", n_choices, reasons, self._config.llm.max_failed)
        step.finish(self._workspace.scores)

    def _require_enough(self, scores: Sequence[ConceptScore]) -> None:
        asked = [score for score in scores if not score.failure or score.failure.startswith(NO_VERDICT)]
        reasons = [score.failure for score in asked if score.failure]
        require_enough("scores", len(asked), reasons, self._config.llm.max_failed)

    def estimate(self, atlas: Atlas, namer: Namer) -> Estimate:
        """Count the calls, tokens and dollars that scoring would take; makes every request and no call.

        Raises
        ------
        NamerError
            There is no language model to ask.
        StoreError
            There are no names yet.
        """
        if self._client is None:
            raise NamerError(NOT_ENABLED)
        names = self._names()
        if not names:
            raise StoreError(f"there is no {self._workspace.names}: run `atlas name` with the same config first")
        with ReferenceReader(self._workspace.references) as reader:
            again = _to_name_again(reader, atlas, names)
            total = len(again) * (1 + N_QUESTIONS + N_ORDERS * len(AGAINST))
            with self._reporter.track("estimating", total, unit="request") as advance:
                requests = chain(
                    self._naming_requests(namer, again),
                    self._questions(reader, atlas, names),
                    self._choice_requests(reader, atlas, names),
                )
                return self._client.estimate(counted(requests, advance))

    def _score_all(
        self, atlas: Atlas, reader: ReferenceReader, namer: Namer, names: Mapping[str, ConceptName]
    ) -> list[ConceptScore]:
        others = self._name_again(namer, _to_name_again(reader, atlas, names))
        scores, failures = list[ConceptScore](), list[str]()
        judge, first = self._judge(), next(iter(_by_layer(reader)), "")
        with self._reporter.track("scores", len(reader.concepts()), unit="concept") as advance:
            for layer, concepts in _by_layer(reader).items():
                trials = make_trials(reader, atlas, layer, concepts, self._config.seed)
                if not scores:
                    self._announce(names, trials, len(reader.concepts()))
                scored = score_names(names, trials, judge, other_names=others, seed=self._config.seed)
                found = list(counted(scored, advance))
                questions = list(self._choices(reader, atlas, layer, concepts, names))
                if layer == first:
                    self._announce_choices(questions, len(concepts) / max(len(reader.concepts()), 1))
                chosen = dict(self._chooser(judge).choose(questions))
                failures += [answer.failure for answer in chosen.values()]
                choices = count_choices(questions, chosen)
                scores += [replace(score, choices=choices.get(score.concept, ())) for score in found]
        self._choice_failures = (len(failures), [reason for reason in failures if reason])
        return scores

    def _choices(
        self,
        reader: ReferenceReader,
        atlas: Atlas,
        layer: str,
        concepts: Sequence[Concept],
        names: Mapping[str, ConceptName],
    ) -> Iterator[ChoiceQuestion]:
        def read(channel: int) -> list[Reference]:
            return [replace(item, full=b"", masked=b"") for item in reader.read(Concept(layer, channel), "relmax")]

        rows = Rows(atlas.layers[layer], read, names, self._config.preprocessing.size, self._config.seed)
        n_orders = N_ORDERS if self._client is not None else 1  # masks do not mind the order
        return choice_questions(rows, concepts, names, n_orders, self._config.seed)

    def _chooser(self, judge: Judge) -> Chooser:
        return LlmChooser(self._client) if self._client is not None else TileChooser(judge)

    def _announce_choices(self, questions: Sequence[ChoiceQuestion], share: float) -> None:
        if self._client is not None and questions:
            chosen = sampled(questions)
            requests = LlmChooser(self._client).requests(chosen)
            announce(self._reporter, self._client, "choices", requests, share * len(chosen) / len(questions))

    def _choice_requests(
        self, reader: ReferenceReader, atlas: Atlas, names: Mapping[str, ConceptName]
    ) -> Iterator[Request]:
        assert self._client is not None, "only a language model is sent requests"
        for layer, concepts in _by_layer(reader).items():
            yield from LlmChooser(self._client).requests(self._choices(reader, atlas, layer, concepts, names))

    def _name_again(self, namer: Namer, evidence: StoredEvidence) -> dict[str, ConceptName]:
        if self._client is not None:
            chosen = sampled(evidence)
            requests = self._naming_requests(namer, chosen)
            share = len(chosen) / max(len(evidence), 1)
            announce(self._reporter, self._client, "names again (stability)", requests, share)
        with self._reporter.track("names again", len(evidence), unit="concept") as advance:
            return {name.concept: name for name in counted(namer.name(evidence), advance)}

    def _announce(self, names: Mapping[str, ConceptName], trials: Sequence[Trial], n_concepts: int) -> None:
        judge = self._judge()
        if self._client is not None and isinstance(judge, LlmJudge):
            chosen = sampled(trials)
            requests = judge.requests(questions_of(names, chosen, self._config.seed))
            announce(self._reporter, self._client, "scores", requests, len(chosen) / max(n_concepts, 1))

    def _naming_requests(self, namer: Namer, evidence: Sequence[ConceptEvidence]) -> Iterator[Request]:
        return namer.requests(evidence) if isinstance(namer, LlmNamer) else iter(())

    def _questions(self, reader: ReferenceReader, atlas: Atlas, names: Mapping[str, ConceptName]) -> Iterator[Request]:
        judge = self._judge()
        assert isinstance(judge, LlmJudge), "only a language model is sent requests"
        for layer, concepts in _by_layer(reader).items():
            trials = make_trials(reader, atlas, layer, concepts, self._config.seed)
            yield from judge.requests(questions_of(names, trials, self._config.seed))

    def _names(self) -> dict[str, ConceptName]:
        return self._workspace.read_names()

    def _step(self) -> Step:
        llm = self._config.llm
        judge: list[object] = ["masks"]
        if llm.enabled:
            judge = [llm.model, llm.base_url, *(load_prompt(name).digest for name in ("scoring", "naming", "choosing"))]
        return Step(
            *(self._workspace, self._reporter, "scores", "atlas score"),
            {"version": SCORES_VERSION, "seed": self._config.seed, "judge": judge},
            made_from=("atlas", "references", "names"),
        )

    def _judge(self) -> Judge:
        if self._client is not None:
            return LlmJudge(self._client)
        assert isinstance(self._dataset, HasPartMasks), "can_score was asked before"
        return PartsJudge(self._dataset.part_masks, self._dataset.part_words)


def describe_scores(scores: Sequence[ConceptScore]) -> str:
    """Say how many names were scored and how well they did; of none there is no mean, but a reason."""
    scored = [score for score in scores if not score.failure]
    if not scored:
        reasons = Counter(score.failure for score in scores).most_common(1)
        return f"none of {len(scores)} concepts" + "".join(f" ({n} of them: {reason})" for reason, n in reasons)
    mean = sum(score.auprc for score in scored) / len(scored)
    shuffled = sum(score.shuffled_auprc for score in scored) / len(scored)
    found = f"mean AUPRC {numbers.fixed(mean)} (with another concept's name {numbers.fixed(shuffled)})"
    told = [*describe_choices(scores), found]
    return f"{len(scored)} names, {', '.join(told)}"


def describe_choices(scores: Sequence[ConceptScore]) -> Iterator[str]:
    """Say how often the right row was chosen from the name alone, with an interval over the names; the first figure."""
    for against, words in (("random", "random rows"), ("hard", "the nearest rows")):
        rates = [choice.rate for score in scores for choice in score.choices if choice.against == against]
        if rates:
            rate = sum(rates) / len(rates)
            low, high = (numbers.percent(edge, decimals=0) for edge in wilson(rate, len(rates)))
            yield (
                f"the right one of four rows chosen {numbers.percent(rate, decimals=0)} of the time against {words} "
                f"(95 % interval {low} to {high})"
            )


def _by_layer(reader: ReferenceReader) -> dict[str, list[Concept]]:
    layers: dict[str, list[Concept]] = {}
    for concept in reader.concepts():
        layers.setdefault(concept.layer, []).append(concept)
    return layers


def _to_name_again(reader: ReferenceReader, atlas: Atlas, names: Mapping[str, ConceptName]) -> StoredEvidence:
    """Choose the concepts with a name: for the others there is nothing to compare a second one with."""
    named = {key for key, name in names.items() if name.is_named}
    concepts = [concept for concept in reader.concepts() if concept.key in named]
    return StoredEvidence(reader, atlas, concepts, "held out")


def make_trials(
    reader: ReferenceReader, atlas: Atlas, layer: str, concepts: Sequence[Concept], seed: int
) -> list[Trial]:
    """Make the trials of one layer; at any time only one layer's crops are in memory."""
    tables = atlas.layers[layer]
    similarity = similar_channels(tables)
    references = {concept.channel: _crops(reader, concept, "relmax") for concept in concepts}
    trials = []
    for concept in concepts:
        positives = choose_positives(references[concept.channel], _crops(reader, concept, "actmax"), N_POSITIVES)
        negatives, n_hard = choose_negatives(concept, tables, similarity, references, N_NEGATIVES, seed)
        trials.append(Trial(concept, positives, negatives, n_hard))
    return trials


def _crops(reader: ReferenceReader, concept: Concept, ranking: Ranking) -> list[Reference]:
    """Read a concept's references without the pictures that no judge is shown."""
    return [replace(found, full=b"", masked=b"", heatmap=b"") for found in reader.read(concept, ranking)]
