"""The audit for shortcuts: concepts that a class leans on in some of its samples and that are no part of what it shows.

Owns which concepts are candidates, the measured evidence, its null and the correction for the number of tests. No name
counts. Knows shares, places and probabilities as arrays; must not know networks, files or pages.

A candidate is found only where all of its evidence holds, each part tested against a null of permuted labels: its
p-value is the largest of the three (an intersection-union test), corrected by Benjamini and Hochberg.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from precompute.records import Atlas, BoolArray, Concept, FloatArray, IntArray, ShortcutFinding

from .statistics import benjamini_hochberg

LEAST_SHARE = 0.1
"""Mean share, among the samples that have the concept, from which it is a candidate."""
LEAST_WITH, LEAST_WITHOUT = 4, 2
"""Samples of the class with and without the concept below which nothing can be compared."""
MOST_WITH, MOST_WITHOUT = 16, 12
"""Samples of the class that are looked at, with and without the concept."""
LEAST_FALL = 0.1
"""By how much more the class's probability has to fall with the concept off on samples that have it."""
OTHER_SHARE = 0.02
"""Share from which another concept's place counts."""
N_PERMUTATIONS = 4999


@dataclass(frozen=True, eq=False)
class Candidate:
    """A concept that a part of a class's samples has, and the samples to look at.

    Attributes
    ----------
    class_index : int
    concept : Concept
    n_with, n_without : int
        Samples of the class with the concept (a share of at least `LARGE_SHARE`) and without, of all mined.
    mean_with : float
        Mean share of those with it.
    p_bound : float
        That so much of it goes to the class by chance.
    samples : (n,) int64
        To look at: positions in the data set, first those with the concept.
    has : (n,) bool
    """

    class_index: int
    concept: Concept
    n_with: int
    n_without: int
    mean_with: float
    p_bound: float
    samples: IntArray
    has: BoolArray


def find_candidates(atlas: Atlas, layer: str, rng: np.random.Generator) -> list[Candidate]:
    """Find the concepts of a layer that a part of a class's samples has, from the mined tables alone."""
    large, target = atlas.layers[layer].large, atlas.samples.target
    found = []
    for channel in np.unique(large.channel).tolist():
        rows = (large.channel == channel) & (large.share > 0)
        share = np.zeros(len(target))
        share[large.sample_index[rows]] = large.share[rows]
        for class_index in np.unique(target[share > 0]).tolist():
            members = np.flatnonzero(target == class_index)
            having = members[share[members] > 0]
            lacking = members[share[members] == 0]
            mean = float(share[having].mean())
            if len(having) < LEAST_WITH or len(lacking) < LEAST_WITHOUT or mean < LEAST_SHARE:
                continue
            chosen = [_few(having, MOST_WITH), _few(lacking, MOST_WITHOUT)]
            found.append(
                Candidate(
                    class_index=class_index,
                    concept=Concept(layer, channel),
                    n_with=len(having),
                    n_without=len(lacking),
                    mean_with=mean,
                    p_bound=_bound(share[target >= 0], target[target >= 0] == class_index, rng),
                    samples=np.concatenate(chosen),
                    has=np.repeat([True, False], [len(part) for part in chosen]),
                )
            )
    return found


def _few(members: IntArray, n: int) -> IntArray:
    return members if len(members) <= n else members[np.arange(n) * len(members) // n]


def _bound(share: FloatArray, of_class: BoolArray, rng: np.random.Generator) -> float:
    """Return how often a class of permuted labels has as much of the concept."""
    observed = share[of_class].sum()
    n = int(of_class.sum())
    permuted = [rng.choice(share, n, replace=False).sum() for _ in range(N_PERMUTATIONS)]
    return p_value(observed, np.asarray(permuted))


def p_value(observed: float, null: FloatArray) -> float:
    """Return the share of a null, the observed value among it, that is as large."""
    return float((1 + (null >= observed - 1e-12).sum()) / (1 + len(null)))


def distances(shares: FloatArray, row: IntArray, column: IntArray, channel: int) -> tuple[float, FloatArray]:
    """Measure, in one image, how far a concept's place is from the others, and these from each other.

    Parameters
    ----------
    shares : (n_channels,) float64
    row, column : (n_channels,) int64
        Place of each channel's most relevant neuron.
    channel : int

    Returns
    -------
    own : float
        Mean distance to the other concepts with a share of at least `OTHER_SHARE`, weighted by share, in neurons.
    others : (m,) float64
        Of each of them to the rest of them, the concept left out; empty where fewer than two are there.
    """
    among = np.flatnonzero(shares >= OTHER_SHARE)
    among = among[among != channel]
    if len(among) < 2:
        return float("nan"), np.zeros(0)
    weight = shares[among]
    own = np.hypot(row[among] - row[channel], column[among] - column[channel])
    apart = np.hypot(row[among][:, None] - row[among], column[among][:, None] - column[among])
    return float((own * weight).sum() / weight.sum()), (apart * weight).sum(1) / (weight.sum() - weight)


def judge(
    candidate: Candidate,
    shares: FloatArray,
    neurons: IntArray,
    width: int,
    falls: FloatArray,
    rng: np.random.Generator,
    right: tuple[BoolArray, BoolArray] | None = None,
) -> ShortcutFinding:
    """Measure the evidence of one candidate on the samples to look at.

    Parameters
    ----------
    candidate : Candidate
    shares, neurons : (n, n_channels)
        Of `Candidate.samples`: shares, and flat arg-max neurons of relevance.
    width : int
        Neurons in a row of the layer.
    falls : (n,) float64
        By how much the class's probability falls with the concept off.
    rng : Generator
    right : two (n,) bool, optional
        Whether the network says the class, with everything and with the concept off.

    Returns
    -------
    ShortcutFinding
        With its own p-value in the place of the corrected one.
    """
    channel, has = candidate.concept.channel, candidate.has
    row, column = neurons // width, neurons % width
    measured = [distances(shares[i], row[i], column[i], channel) for i in np.flatnonzero(has)]
    measured = [(own, others) for own, others in measured if len(others)]
    own = float(np.mean([first for first, _ in measured])) if measured else 0.0
    others = float(np.mean([second.mean() for _, second in measured])) if measured else 0.0
    with_it, without_it = falls[has], falls[~has]
    p_values = (candidate.p_bound, _apart(measured, rng), _falls_more(with_it - LEAST_FALL, without_it, rng))
    return ShortcutFinding(
        class_index=candidate.class_index,
        concept=candidate.concept.key,
        n_with=candidate.n_with,
        n_without=candidate.n_without,
        mean_with=min(1.0, candidate.mean_with),
        distance=own,
        others_distance=others,
        fall_with=float(with_it.mean()),
        fall_without=float(without_it.mean()),
        p_bound=p_values[0],
        p_apart=p_values[1],
        p_fall=p_values[2],
        q=max(p_values),
        samples=tuple(int(index) for index in candidate.samples),
        n_looked_with=int(has.sum()),
        **({} if right is None else _counts_right(*right, has)),
    )


def _counts_right(before: BoolArray, after: BoolArray, has: BoolArray) -> dict[str, int]:
    return {
        "right_with": int(before[has].sum()),
        "right_with_off": int(after[has].sum()),
        "right_without": int(before[~has].sum()),
        "right_without_off": int(after[~has].sum()),
    }


def _apart(measured: Sequence[tuple[float, FloatArray]], rng: np.random.Generator) -> float:
    """Return how often a concept drawn in each image lies as far from the others."""
    if len(measured) < LEAST_WITH:
        return 1.0
    null = np.zeros(N_PERMUTATIONS)
    for own, others in measured:
        null += rng.choice(np.append(others, own), N_PERMUTATIONS)
    return p_value(float(sum(own for own, _ in measured)), null)


def _falls_more(with_it: FloatArray, without_it: FloatArray, rng: np.random.Generator) -> float:
    """Return how often permuted labels of who has the concept give as large a difference."""
    joined, n = np.concatenate([with_it, without_it]), len(with_it)
    permuted = rng.permuted(np.tile(joined, (N_PERMUTATIONS, 1)), axis=1)
    null = permuted[:, :n].mean(1) - permuted[:, n:].mean(1)
    return p_value(float(with_it.mean() - without_it.mean()), null)


def correct(findings: Sequence[ShortcutFinding]) -> tuple[ShortcutFinding, ...]:
    """Correct the p-values for the number of candidates, and put the most serious first."""
    if not findings:
        return ()
    q_values = benjamini_hochberg(np.asarray([finding.q for finding in findings])).tolist()
    told = [dataclasses.replace(finding, q=q) for finding, q in zip(findings, q_values, strict=True)]
    return tuple(sorted(told, key=lambda item: (item.q, item.fall_without - item.fall_with, item.concept)))
