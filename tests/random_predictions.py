"""Random explanations with everything that their facts can rest on, and with every way in which it can be missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from types import SimpleNamespace

import numpy as np

from precompute.explanations.prediction import PredictionTable, build_prediction
from precompute.explanations.usual import Accuracy, ClassShares, UsualShares
from precompute.images.places import PLACE_WORDS
from precompute.records import (
    LARGE_SHARE,
    Box,
    ConceptAttribution,
    ConceptName,
    CutPart,
    CutSplit,
    Explanation,
    LargeShares,
    LayerExplanation,
    Place,
    Prediction,
    SubConcept,
    TargetExplanation,
)

CLASSES = ("tree", "house", "tench, Tinca tinca", "rocket", "<b>owl</b>")
NAMES = ("round badge", "trunk", "open sky", "wavy lines across roof", "a fin", "Trunk", "<i>leaf</i>")
NAME_KINDS = ("part", "object", "mark", "scene", "texture")
AUTHORS = ("offline", "llm:model", "person:reader", "llm:claude")


@dataclass(frozen=True, eq=False)
class RandomPrediction:
    """What a table is built from; nothing of it is derived."""

    explanation: Explanation
    target: TargetExplanation
    names: dict[str, ConceptName]
    usual: UsualShares | None
    accuracy: Accuracy | None

    def table(self) -> PredictionTable:
        """Give the table under test; plain frozen data, built once."""
        return self._table

    @cached_property
    def _table(self) -> PredictionTable:
        return build_prediction(
            self.explanation,
            self.target,
            self.names,
            class_names=CLASSES,
            usual=self.usual,
            accuracy=self.accuracy,
        )

    def atlas(self) -> SimpleNamespace | None:
        """Give the means in the form in which an atlas stores them: sums and counts."""
        if self.usual is None:
            return None
        counts, layers, targets = self.usual.counts[:, None], {}, []
        for name, means in self.usual.means.items():
            large = self.usual.large[name]
            index = np.arange(len(large.share)) + sum(map(len, targets))  # as if each were of a sample of its own
            targets.append(large.class_index)
            layers[name] = SimpleNamespace(
                class_relevance=means * counts, large=LargeShares(index, large.channel, large.share)
            )
        samples = SimpleNamespace(target=np.concatenate(targets) if targets else np.zeros(0, int))
        return SimpleNamespace(layers=layers, class_counts=self.usual.counts, samples=samples)


@lru_cache(maxsize=512)
def random_prediction(seed: int) -> RandomPrediction:
    """Make one prediction of everything from the seed."""
    rng = np.random.default_rng(seed)
    layers = [(f"block.{number}", int(rng.integers(1, 25))) for number in range(1 if rng.random() < 0.7 else 2)]
    makers = [str(rng.choice(AUTHORS))] if rng.random() < 0.7 else list(AUTHORS)
    below = [f"below:{channel}" for channel in range(4)]
    keys = [f"{layer}:{channel}" for layer, n_channels in layers for channel in range(n_channels)] + below
    named = rng.random() < 0.9
    names = {key: _name(rng, key, makers) for key in keys if named and rng.random() < 0.85}
    n_targets = int(rng.integers(1, 4))
    probabilities = np.sort(rng.dirichlet(np.full(len(CLASSES), rng.choice([0.15, 1.0]))))[::-1]
    order = rng.permutation(len(CLASSES))
    if rng.random() < 0.1:  # equally probable: the lower index comes first, as in the records
        probabilities[:2], order[:2] = probabilities[:2].mean(), np.sort(order[:2])
    predictions = tuple(
        Prediction(int(index), CLASSES[index], float(probability))
        for index, probability in zip(order, probabilities, strict=True)
    )[: 1 if rng.random() < 0.05 else 5]
    targets = tuple(
        _target(rng, prediction, layers, below) for prediction in predictions[: min(n_targets, len(predictions))]
    )
    if len(targets) > 1 and rng.random() < 0.2:  # two classes for the same reasons
        targets = (*targets[:1], replace(targets[1], layers=targets[0].layers), *targets[2:])
    label = "" if rng.random() < 0.3 else CLASSES[order[int(rng.random() < 0.4)]]
    explanation = Explanation("photo-1", "a.png", "d", "photo.webp", 64, 64, label, predictions, targets)
    target = targets[int(rng.integers(len(targets)))]
    n_samples = int(rng.choice([0, 3, 20, 300]))
    accuracy = Accuracy(0.5, 0.8, int(rng.integers(0, n_samples + 1)), n_samples) if rng.random() < 0.8 else None
    usual = _usual(rng, layers, target) if rng.random() < 0.85 else None
    return RandomPrediction(explanation, target, names, usual, accuracy)


def _name(rng: np.random.Generator, key: str, makers: list[str]) -> ConceptName:
    failure = "no reply" if rng.random() < 0.1 else ""
    second = str(rng.choice(NAMES)) if rng.random() < 0.15 else ""
    name = "" if failure else str(rng.choice(NAMES))
    author = str(rng.choice(makers))
    return ConceptName(
        key,
        name,
        "",
        author,
        str(rng.choice(NAME_KINDS)),
        float(rng.choice([0.4, 0.95])),
        second_name=second,
        failure=failure,
        recorded=author == "llm:claude",
    )


def _target(
    rng: np.random.Generator, prediction: Prediction, layers: list[tuple[str, int]], below: list[str]
) -> TargetExplanation:
    logit = float(rng.choice([5.0, 5.0, 5.0, 5.0, 5.0, -2.0])) * rng.uniform(0.5, 2)
    return TargetExplanation(
        prediction.class_index,
        prediction.class_name,
        prediction.probability,
        logit,
        tuple(_layer(rng, name, n_channels, below) for name, n_channels in layers),
    )


def _layer(rng: np.random.Generator, name: str, n_channels: int, below: list[str]) -> LayerExplanation:
    sizes = rng.dirichlet(np.full(n_channels, rng.choice([0.1, 0.6])))
    sizes[sizes < 1e-6] = 0
    if rng.random() < 0.1 and n_channels > 1:
        sizes[:2] = max(sizes.max(), 0.2)
    signs = rng.choice([1, -1], n_channels, p=rng.choice([[0.5, 0.5], [0.8, 0.2], [1.0, 0.0], [0.1, 0.9]]))
    shares = np.zeros(n_channels) if rng.random() < 0.1 else sizes * signs / sizes.sum()
    cut = None
    if rng.random() < 0.6:  # a branch holds a part of what crosses the network
        beside = tuple(CutPart(f"beside.{k}", float(rng.normal()), 1.0) for k in range(int(rng.integers(0, 3))))
        shares = shares * float(rng.uniform(0.1, 0.95)) if beside else shares
        cut = CutSplit(20.0, beside, float(rng.choice([0.0, rng.normal()])), float(rng.choice([0.0, 1e-9])))
    order = np.argsort(-np.abs(shares), kind="stable")[: int(rng.integers(1, 6))]
    concepts = tuple(
        ConceptAttribution(
            f"{name}:{channel}",
            rank,
            float(shares[channel]),
            float(shares[channel] * 20),
            float(rng.normal() * 10.0 ** rng.integers(0, 5)),
            Place(Box(0, 0, 8, 8), 0.5, 0.5, float(rng.random()), str(rng.choice(PLACE_WORDS))),
            "h.png",
            1.0,
            "o.webp",
            tuple(SubConcept(key, float(rng.normal() * 0.2)) for key in rng.permutation(below)[: rng.integers(0, 4)]),
        )
        for rank, channel in enumerate(order.tolist())
        if shares[channel] != 0
    )
    coverage = float(sum(abs(concept.share) for concept in concepts))
    return LayerExplanation(name, tuple(shares.tolist()), float(rng.normal() * 5), 20.0, coverage, concepts, cut)


def _usual(rng: np.random.Generator, layers: list[tuple[str, int]], target: TargetExplanation) -> UsualShares:
    counts = rng.choice([0, 3, 40, 60], len(CLASSES), p=[0.1, 0.1, 0.4, 0.4])
    means = {}
    for explained, (name, n_channels) in zip(target.layers, layers, strict=True):
        table = np.zeros((len(CLASSES), n_channels))
        for index in range(len(CLASSES)):
            table[index] = rng.dirichlet(np.full(n_channels, 0.3)) * rng.choice([1, 1, -0.3], n_channels)
        shares = np.asarray(explained.shares)
        table[target.class_index] = rng.choice([1.0, 0.4, 1.9]) * shares + 0.3 * rng.random() * table[0]
        table[target.class_index] = table[target.class_index].clip(-0.98, 0.98)
        for channel in np.flatnonzero(rng.random(n_channels) < 0.4):
            table[:, channel] = rng.uniform(-0.015, 0.015, len(CLASSES))
            table[target.class_index, channel] = rng.choice([0.15, 0.4, 0.05])
        table[counts == 0] = 0
        means[name] = table
    if rng.random() < 0.2:
        means.pop(layers[-1][0])
    large = {name: _large(rng, shares, counts) for name, shares in _shares_of(target, layers).items()}
    return UsualShares(counts.astype(np.int64), means, large, rng.random(len(CLASSES)) < 0.8)


def _shares_of(target: TargetExplanation, layers: list[tuple[str, int]]) -> dict[str, np.ndarray]:
    return {name: np.asarray(layer.shares) for layer, (name, _) in zip(target.layers, layers, strict=True)}


def _large(rng: np.random.Generator, shares: np.ndarray, counts: np.ndarray) -> ClassShares:
    """Draw the shares of every sample around those of the photo: above in few, in about half or in most."""
    found = []
    for index, count in enumerate(counts.tolist()):
        above = rng.random((count, len(shares))) < rng.choice([0.02, 0.5, 0.98], len(shares))
        drawn = np.where(above, rng.uniform(1.1, 3, above.shape), rng.uniform(-1, 0.9, above.shape)) * shares
        drawn[rng.random(above.shape) < 0.05] = 0
        sample, channel = np.nonzero(np.abs(drawn) >= LARGE_SHARE)
        found.append((np.full(len(sample), index), channel, drawn[sample, channel]))
    return ClassShares(*(np.concatenate(columns) for columns in zip(*found, strict=True)))
