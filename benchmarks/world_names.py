"""Names on the built-in world: how many say the true part, and whether scoring tells right names from wrong ones.

Run from the repository: ``python -m benchmarks.world_names --folder data/world`` on a finished atlas of the world
(``make atlas``). Three namers are compared: the offline one; the recorded names, which a language model once gave; and
an oracle behind the interface of a language model, which knows each contact sheet by its digest and answers with the
part from ``truth.json``. All are then scored on held-out references by a judge that knows the masks, directly
and behind the same interface. Exits 1 where scoring does not tell the oracle's names from shuffled ones.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from precompute.atlas.hdf5 import ReferenceReader, read_atlas
from precompute.atlas.json_records import read_json
from precompute.config import Config, load_config
from precompute.naming.held_out import Trial
from precompute.naming.namer import LlmNamer
from precompute.naming.offline import OfflineNamer
from precompute.naming.recorded import load_recorded
from precompute.naming.scoring import LlmJudge, questions_of, score_names, shuffled_partners
from precompute.records import Atlas, ConceptName, ConceptScore, ConceptTruth, TruthReport
from precompute.stages.evidence import StoredEvidence
from precompute.stages.scores import make_trials
from precompute.world.dataset import WorldDataset
from precompute.world.part_judge import OracleModel, PartsJudge, question_key
from precompute.world.truth import CLEAR_MASS, words_for

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class World:
    """A finished atlas of the world and what is known about it."""

    config: Config
    atlas: Atlas
    dataset: WorldDataset
    truth: Mapping[str, ConceptTruth]
    references: Path

    @classmethod
    def open(cls, folder: Path) -> World:
        """Read a finished atlas folder."""
        atlas = read_atlas(folder / "atlas.h5")
        truth = read_json(folder / "truth.json", TruthReport)
        dataset = WorldDataset(len(atlas.samples.name))
        return cls(load_config(ROOT / "data/world.toml"), atlas, dataset, truth.concepts, folder / "references.h5")

    def says(self, name: ConceptName) -> bool:
        """Whether a name says the true part of its concept."""
        return name.says(words_for(self.truth[name.concept].part, self.dataset.part_words))


def oracle_names(world: World) -> dict[str, ConceptName]:
    """Name by a stand-in for a language model that knows which concept each contact sheet is of."""
    side = max(world.config.preprocessing.size)
    with ReferenceReader(world.references) as reader:
        concepts = [concept for concept in reader.concepts() if world.truth[concept.key].part]
        evidence = StoredEvidence(reader, world.atlas, concepts, "seen")
        replies = {}
        for piece, request in zip(evidence, LlmNamer(OracleModel({}), input_size=side).requests(evidence), strict=True):
            replies[question_key(request)] = _naming_reply(world.truth[piece.concept.key].part)
        named = LlmNamer(OracleModel(replies), input_size=side).name(evidence)
        return {name.concept: name for name in named}


def offline_names(world: World) -> dict[str, ConceptName]:
    """Name by the offline namer, from the references that a namer may see."""
    counts = zip(world.atlas.class_names, world.atlas.class_counts.tolist(), strict=True)
    namer = OfflineNamer({name: n for name, n in counts if n}, world.config.preprocessing.size)
    with ReferenceReader(world.references) as reader:
        evidence = StoredEvidence(reader, world.atlas, reader.concepts(), "seen")
        return {name.concept: name for name in namer.name(evidence)}


def recorded_names(world: World) -> dict[str, ConceptName]:
    """Collect the names that ship with the project and fit this atlas."""
    recorded = load_recorded()
    found = (recorded.name_of(concept, world.atlas) for concept in world.atlas.concepts())
    return {name.concept: name for name in found if name is not None}


def bands(world: World, label: str, names: Mapping[str, ConceptName]) -> None:
    """Print how many names were right, by kind and by what their namer claimed."""
    known = [name for name in names.values() if name.is_named and name.concept in world.truth]
    known = [name for name in known if world.truth[name.concept].part]
    print(f"\n{label}: right of all, {_right(world, known)}")
    for kind in sorted({name.kind for name in known}):
        print(f"  kind {kind}: {_right(world, [name for name in known if name.kind == kind])}")
    for low, high in ((0.9, 1.01), (0.7, 0.9), (0.5, 0.7), (0.0, 0.5)):
        print(f"  claimed {low}: {_right(world, [name for name in known if low <= name.confidence < high])}")


def _right(world: World, names: Sequence[ConceptName]) -> str:
    return f"{sum(world.says(name) for name in names)} of {len(names)}"


def _naming_reply(part: str) -> str:
    reply = {"name": part, "description": f"Every crop shows {part}.", "kind": "part", "common": f"They show {part}."}
    return json.dumps(reply | {"outliers": [], "confidence": 0.9, "second_name": ""})


def trials_of(world: World) -> list[Trial]:
    """Make the trials of every concept with a known part."""
    with ReferenceReader(world.references) as reader:
        layers: dict[str, list[Trial]] = {}
        for concept in reader.concepts():
            layers.setdefault(concept.layer, [])
        for layer in layers:
            concepts = [concept for concept in reader.concepts() if concept.layer == layer]
            layers[layer] = make_trials(reader, world.atlas, layer, concepts, world.config.seed)
    return [trial for trials in layers.values() for trial in trials if world.truth[trial.concept.key].part]


def judge_behind_interface(
    world: World, names: Mapping[str, ConceptName], trials: Sequence[Trial], judge: PartsJudge
) -> LlmJudge:
    """Put the judge that knows the masks behind the interface of a language model."""
    questions = questions_of(names, trials, world.config.seed)
    requests = LlmJudge(OracleModel({})).requests(questions)
    replies = {}
    for (_, verdict), request in zip(judge.judge(questions), requests, strict=True):
        tiles = [{"number": number, "probability": value} for number, value in enumerate(verdict.probabilities)]
        replies[question_key(request)] = json.dumps({"tiles": tiles})
    return LlmJudge(OracleModel(replies))


def report(world: World, label: str, names: Mapping[str, ConceptName], scores: Sequence[ConceptScore]) -> None:
    """Print what one namer's names are worth, by layer and for the concepts with a clear part."""
    partners = shuffled_partners(list(names), world.config.seed)
    usable = [score for score in scores if not score.failure]
    groups = {layer: [s for s in usable if s.concept.rsplit(":", 1)[0] == layer] for layer in world.atlas.layers}
    groups["all layers"] = usable
    groups["clear part"] = [s for s in usable if (world.truth[s.concept].mass or 0) >= CLEAR_MASS]
    groups["clear, partner of another part"] = [
        s
        for s in groups["clear part"]
        if s.concept in partners and world.truth[partners[s.concept]].part != world.truth[s.concept].part
    ]
    print(f"\n{label}: AUPRC / F1 of the name, of another concept's (shuffled), of the constant name")
    print("| concepts | n | say the part | name | shuffled | constant |\n|---|---|---|---|---|---|")
    for group, found in groups.items():
        if found:
            print(_row(world, group, names, found))


def _row(world: World, group: str, names: Mapping[str, ConceptName], scores: Sequence[ConceptScore]) -> str:
    right = sum(world.says(names[score.concept]) for score in scores) / len(scores)
    cells = [group, str(len(scores)), f"{right:.0%}"]
    for prefix in ("", "shuffled_", "constant_"):
        auprc, f1 = (
            sum(getattr(score, prefix + measure) for score in scores) / len(scores) for measure in ("auprc", "f1")
        )
        cells.append(f"{auprc:.3f} / {f1:.3f}")
    return f"| {' | '.join(cells)} |"


def told_apart(scores: Sequence[ConceptScore]) -> bool:
    """Tell whether names do better than shuffled ones by more than twice the standard error of the difference."""
    gains = [score.auprc - score.shuffled_auprc for score in scores if not score.failure]
    mean = sum(gains) / len(gains)
    spread = (sum((gain - mean) ** 2 for gain in gains) / max(len(gains) - 1, 1)) ** 0.5
    error = spread / len(gains) ** 0.5
    print(f"gain of AUPRC over shuffled names: {mean:.3f}, standard error {error:.3f}")
    return bool(mean > 2 * error)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "data/world", help="finished atlas of the world")
    world = World.open(parser.parse_args().folder)
    trials = trials_of(world)
    judge = PartsJudge(world.dataset.part_masks, world.dataset.part_words)
    offline, recorded = offline_names(world), recorded_names(world)
    oracle, seed = oracle_names(world), world.config.seed
    for label, names in (("Offline names", offline), ("Recorded names", recorded)):
        bands(world, label, names)
        report(world, label, names, list(score_names(names, trials, judge, seed=seed)))
    scores = list(score_names(oracle, trials, judge, seed=seed))
    report(world, "Oracle's names, by way of the language model's interface", oracle, scores)
    behind = judge_behind_interface(world, oracle, trials, judge)
    same = [replace(score, author="") for score in score_names(oracle, trials, behind, seed=seed)]
    agree = same == [replace(score, author="") for score in scores]
    print(f"\nthe judge behind the language model's interface gives the same scores: {agree}")
    return 0 if told_apart(scores) and agree else 1


if __name__ == "__main__":
    sys.exit(main())
