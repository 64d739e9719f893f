"""What shares say about the network: switch channels off and compare what happens with what the shares promised.

Owns the orders in which channels are switched off, the curves, and the plain test of one explanation. Knows the network
as something that gives logits with channels off; must not know files or pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from precompute.config import Task
from precompute.network.heads import compute_probabilities
from precompute.records import (
    AblationCurve,
    BoolArray,
    ClassTrust,
    Concept,
    CurveOrder,
    FloatArray,
    IntArray,
    LayerTrust,
    OffValue,
    WhatIf,
)
from precompute.relevance.intervention import Intervention, OffValues

from .statistics import area, mean_and_error, rank_correlation

COUNTS = (0, 1, 2, 3, 4, 6, 8, 12, 16)
"""How many channels are off at each point of a curve."""
ROWS_AT_ONCE = 64
"""Rows that go through the rest of the network at once where each switches other channels off."""
MAX_ALONE = 48
"""Channels of an image that are switched off alone; of more, those are taken at random."""
MAX_GREEDY = 32
"""Channels among which the best order is searched for: those with the largest absolute shares."""


@dataclass(frozen=True, eq=False)
class SampleScores:
    """What is known of a sample's images before anything is switched off.

    Attributes
    ----------
    targets : (n,) int64
        The classes whose probability is followed.
    shares, activations : (n, n_channels) float64
        Of one layer.
    """

    targets: IntArray
    shares: FloatArray
    activations: FloatArray


class Ablation:
    """Images of one layer, in batches, with what their channels are set to when they are off.

    Parameters
    ----------
    batches : sequence of Intervention
    value : OffValues
    task : str
        How logits become probabilities.
    """

    def __init__(self, batches: Sequence[Intervention], value: OffValues, task: Task) -> None:
        self._batches, self._value, self._task = batches, value, task
        self._starts = np.cumsum([0, *(batch.n for batch in batches)])

    def before(self) -> tuple[FloatArray, FloatArray]:
        """Return (n, n_classes) logits and probabilities with everything."""
        return self._both(torch.cat([batch.logits for batch in self._batches]))

    def without(self, off: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Return logits and probabilities of all images, each without its channels of (n, n_channels) `off`."""
        bounds = zip(self._batches, self._starts[:-1], self._starts[1:], strict=True)
        rows = [batch.without(torch.from_numpy(off[start:stop]), self._value) for batch, start, stop in bounds]
        return self._both(torch.cat(rows))

    def variants(self, image: int, off: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Return logits and probabilities of one image, once for each row of (m, n_channels) `off`."""
        place = int(np.searchsorted(self._starts, image, side="right")) - 1
        batch, row = self._batches[place], image - int(self._starts[place])
        parts = [
            batch.without(torch.from_numpy(part), self._value, torch.full((len(part),), row))
            for part in np.array_split(off, range(ROWS_AT_ONCE, len(off), ROWS_AT_ONCE))
        ]
        return self._both(torch.cat(parts))

    def _both(self, logits: torch.Tensor) -> tuple[FloatArray, FloatArray]:
        logits = logits.double().cpu()
        return logits.numpy(), compute_probabilities(logits, self._task).numpy()


def first_of(order: IntArray, n: int) -> BoolArray:
    """Mark the first n channels of each row of an (n_rows, n_channels) order."""
    off = np.zeros(order.shape, np.bool_)
    np.put_along_axis(off, order[:, :n], values=True, axis=1)
    return off


def counts_of(n_channels: int) -> tuple[int, ...]:
    """Return the points of a curve: `COUNTS` as far as there are channels."""
    return tuple(count for count in COUNTS if count < n_channels) or (0,)


def count_passes(n_channels: int, *, n_samples: int, n_random: int, n_greedy: int) -> int:
    """Count the passes, at most, from a layer to the logits that `measure_layer` takes, image by image."""
    counts = counts_of(n_channels)
    among = min(n_channels, MAX_GREEDY)
    greedy = sum(max(0, among - step) for step in range(counts[-1]))
    orders = (3 + n_random) * (len(counts) - 1)
    return n_samples * (orders + min(n_channels, MAX_ALONE)) + min(n_greedy, n_samples) * greedy


def curves_of(ablation: Ablation, order: IntArray, targets: IntArray) -> FloatArray:
    """Return what is left of each image's probability, (n, n_points), as the channels go off in their order."""
    rows = np.arange(len(targets))
    before = ablation.before()[1][rows, targets]
    counts = counts_of(order.shape[1])
    left = [ablation.without(first_of(order, count))[1][rows, targets] / before for count in counts[1:]]
    return np.stack([np.ones(len(targets)), *left], axis=1)


def alone_drops(ablation: Ablation, image: int, target: int, channels: IntArray, n_channels: int) -> FloatArray:
    """Return by how much the target's logit drops when each of the channels alone is switched off."""
    off = np.zeros((len(channels), n_channels), np.bool_)
    off[np.arange(len(channels)), channels] = True
    before = ablation.before()[0][image, target]
    return np.asarray(before - ablation.variants(image, off)[0][:, target])


def greedy_curve(ablation: Ablation, image: int, target: int, among: IntArray, n_channels: int) -> FloatArray:
    """Return the curve of the order that takes, each time, the channel whose loss lowers the probability most."""
    before = float(ablation.before()[1][image, target])
    counts = counts_of(n_channels)
    off, left = np.zeros(n_channels, np.bool_), [1.0]
    for _ in range(counts[-1]):
        candidates = among[~off[among]]
        if not len(candidates):
            left.append(left[-1])
            continue
        trials = np.repeat(off[None], len(candidates), axis=0)
        trials[np.arange(len(candidates)), candidates] = True
        found = ablation.variants(image, trials)[1][:, target]
        off[candidates[int(found.argmin())]] = True
        left.append(float(found.min()) / before)
    return np.asarray(left)[list(counts)]


def measure_layer(
    layer: str,
    ablation: Ablation,
    scores: SampleScores,
    rng: np.random.Generator,
    *,
    n_random: int,
    n_greedy: int,
) -> LayerTrust:
    """Try the shares of one layer.

    Parameters
    ----------
    layer : str
    ablation : Ablation
    scores : SampleScores
    rng : Generator
        Draws the random orders, and the channels where an image has too many.
    n_random : int
        Random orders for each image.
    n_greedy : int
        Images, from the first, on which the best order is searched for.
    """
    n, n_channels = scores.shares.shape
    counts = counts_of(n_channels)
    by_share = np.argsort(-scores.shares, axis=1, kind="stable")
    found: dict[CurveOrder, FloatArray] = {
        "most": curves_of(ablation, by_share, scores.targets),
        "activation": curves_of(ablation, np.argsort(-scores.activations, axis=1, kind="stable"), scores.targets),
        "random": np.mean(
            [
                curves_of(ablation, rng.permuted(np.tile(np.arange(n_channels), (n, 1)), axis=1), scores.targets)
                for _ in range(n_random)
            ],
            axis=0,
        ),
        "least": curves_of(ablation, by_share[:, ::-1], scores.targets),
    }
    if n_greedy:
        found["greedy"] = np.stack(
            [
                greedy_curve(ablation, image, int(scores.targets[image]), _largest(scores.shares[image]), n_channels)
                for image in range(min(n_greedy, n))
            ]
        )
    areas = {order: area(counts, curves) for order, curves in found.items()} if len(counts) > 1 else {}
    between, between_error = mean_and_error(areas["least"] - areas["most"]) if areas else (0.0, 0.0)
    correlations = [_correlations(ablation, image, scores, rng) for image in range(n)]
    by_shares = [first for first, _ in correlations]
    told = _mean(by_shares)
    return LayerTrust(
        layer=layer,
        n_samples=n,
        correlation=told[0],
        correlation_error=told[1],
        activation_correlation=_mean([second for _, second in correlations])[0],
        curves=tuple(_curve(order, found[order], areas[order]) for order in areas),
        between=between,
        between_error=between_error,
        classes=_by_class(scores.targets, areas, by_shares),
    )


def _largest(shares: FloatArray) -> IntArray:
    order = np.argsort(-np.abs(shares), kind="stable")[:MAX_GREEDY]
    return np.asarray(order[shares[order] != 0], np.int64)


def _correlations(
    ablation: Ablation, image: int, scores: SampleScores, rng: np.random.Generator
) -> tuple[float | None, float | None]:
    """Return the rank correlations of shares and of activations with the drops of one image."""
    channels = np.flatnonzero(scores.shares[image])
    if len(channels) > MAX_ALONE:
        channels = np.sort(rng.choice(channels, MAX_ALONE, replace=False))
    if len(channels) < 2:
        return None, None
    drops = alone_drops(ablation, image, int(scores.targets[image]), channels, scores.shares.shape[1])
    return (
        rank_correlation(scores.shares[image][channels], drops),
        rank_correlation(scores.activations[image][channels], drops),
    )


def _mean(values: Sequence[float | None]) -> tuple[float, float] | tuple[None, None]:
    known = np.asarray([value for value in values if value is not None], np.float64)
    return mean_and_error(known) if len(known) else (None, None)


def _curve(order: CurveOrder, curves: FloatArray, areas: FloatArray) -> AblationCurve:
    mean, error = mean_and_error(areas)
    return AblationCurve(order, len(curves), tuple(float(value) for value in curves.mean(0)), mean, error)


def _by_class(
    targets: IntArray, areas: Mapping[CurveOrder, FloatArray], correlations: Sequence[float | None]
) -> tuple[ClassTrust, ...]:
    found = []
    for index in np.unique(targets).tolist() if areas else []:
        of_class = np.flatnonzero(targets == index)
        found.append(
            ClassTrust(
                class_index=index,
                n_samples=len(of_class),
                most=float(areas["most"][of_class].mean()),
                random=float(areas["random"][of_class].mean()),
                correlation=_mean([correlations[place] for place in of_class.tolist()])[0],
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class NamedConcepts:
    """The concepts that one explanation names in one layer.

    Attributes
    ----------
    explanation, numbers : str
        Its id, and the digest of its numbers.
    class_index : int
    layer : str
    channels : tuple of int
        By rank.
    shares : tuple of float
        Of every channel of the layer.
    """

    explanation: str
    numbers: str
    class_index: int
    layer: str
    channels: tuple[int, ...]
    shares: tuple[float, ...]


def try_explanation(
    named: NamedConcepts,
    values: Mapping[OffValue, OffValues],
    off: OffValue,
    opened: Intervention,
    rng: np.random.Generator,
    *,
    n_random: int,
    task: Task,
) -> WhatIf:
    """Switch off the concepts that an explanation names, all at once and each alone, and random others.

    Parameters
    ----------
    named : NamedConcepts
    values : mapping of str to OffValues
        Of both kinds.
    off : str
        Which of them counts.
    opened : Intervention
        The one photo, at the layer.
    rng : Generator
    n_random : int
        Random sets of as many channels, among those that have a share and are not named.
    task : str
    """
    main, other = (Ablation([opened], values[kind], task) for kind in (off, "zero" if off == "mean" else "mean"))
    shares, channels = np.asarray(named.shares), list(named.channels)
    off_together = np.zeros((1, len(shares)), np.bool_)
    off_together[0, channels] = True
    off_alone = np.zeros((len(channels), len(shares)), np.bool_)
    off_alone[np.arange(len(channels)), channels] = True
    others = np.setdiff1d(np.flatnonzero(shares), channels)
    sets = n_random if len(others) >= len(channels) else 0
    off_random = np.zeros((sets, len(shares)), np.bool_)
    for row in off_random:
        row[rng.choice(others, len(channels), replace=False)] = True

    def probability(ablation: Ablation, rows: BoolArray) -> list[float]:
        return [float(value) for value in ablation.variants(0, rows)[1][:, named.class_index]] if len(rows) else []

    random = probability(main, off_random)
    return WhatIf(
        explanation=named.explanation,
        numbers=named.numbers,
        class_index=named.class_index,
        layer=named.layer,
        concepts=tuple(Concept(named.layer, channel).key for channel in channels),
        before=float(main.before()[1][0, named.class_index]),
        after=probability(main, off_together)[0],
        after_other=probability(other, off_together)[0],
        alone=tuple(probability(main, off_alone)),
        n_random=sets,
        random_mean=float(np.mean(random)) if random else None,
        random_low=min(random, default=None),
        random_high=max(random, default=None),
    )
