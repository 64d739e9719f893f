"""Prototypes: the ways in which a class is decided, as clusters of its samples' share vectors.

Owns the mixture that is fitted, how many clusters a class gets, and how usual a photo is under it. Knows shares as
arrays; must not know networks, files or pages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from precompute.records import (
    LARGE_SHARE,
    Atlas,
    ClassPrototypes,
    Concept,
    ConceptShare,
    FloatArray,
    IntArray,
    PhotoUsual,
    Prototype,
)
from precompute.records.trusted import LEAST_SAMPLES

MOST_PROTOTYPES = 4
LEAST_MEMBERS = 3
"""Samples of a prototype; a fit with a smaller one is left."""
MOST_AXES = 3
"""Concepts of largest variance on whose shares the mixture is fitted, at most one for ten samples."""
LEAST_SPREAD = 0.02
"""Least standard deviation of a share: what is finer says nothing, as small shares count as 0."""
N_STARTS, N_ROUNDS = 4, 100
N_LEADING, N_TYPICAL, N_UNUSUAL = 5, 4, 3
FAR = 3.5
"""Robust deviations below the median log-likelihood from which a sample of the class is listed as unusual."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """A Gaussian mixture with a diagonal covariance for each of its k components, over d concepts.

    Attributes
    ----------
    weights : (k,) float64
    means, variances : (k, d) float64
    """

    weights: FloatArray
    means: FloatArray
    variances: FloatArray

    def log_joint(self, values: FloatArray) -> FloatArray:
        """Return the (n, k) logarithms of weight times density."""
        apart = (values[:, None] - self.means) ** 2 / self.variances
        norm = np.log(2 * np.pi * self.variances).sum(1)
        return np.asarray(np.log(self.weights) - 0.5 * (norm + apart.sum(2)))

    def log_likelihood(self, values: FloatArray) -> FloatArray:
        """Return the (n,) logarithms of the density."""
        return _log_sum(self.log_joint(values))

    def criterion(self, values: FloatArray) -> float:
        """Return the Bayesian information criterion: smaller is better."""
        k, d = self.means.shape
        return float(-2 * self.log_likelihood(values).sum() + (2 * k * d + k - 1) * np.log(len(values)))


def _log_sum(joint: FloatArray) -> FloatArray:
    top = joint.max(1)
    return np.asarray(top + np.log(np.exp(joint - top[:, None]).sum(1)))


def fit(values: FloatArray, k: int, rng: np.random.Generator) -> Mixture | None:
    """Fit a mixture of k components to (n, d) values by expectation and maximisation; the best of a few starts.

    None where every start ends with a component of fewer than `LEAST_MEMBERS` samples.
    """
    floor = LEAST_SPREAD**2
    best: tuple[float, Mixture] | None = None
    for _ in range(N_STARTS if k > 1 else 1):
        means = _spread_start(values, k, rng)
        mixture = Mixture(np.full(k, 1 / k), means, np.tile(np.maximum(values.var(0), floor), (k, 1)))
        before = -np.inf
        for _ in range(N_ROUNDS):
            joint = mixture.log_joint(values)
            likelihood = float(_log_sum(joint).sum())
            if likelihood - before < 1e-6 * len(values):
                break
            before = likelihood
            part = np.exp(joint - _log_sum(joint)[:, None])
            total = part.sum(0) + 1e-12
            means = part.T @ values / total[:, None]
            spread = np.einsum("nk,nkd->kd", part, (values[:, None] - means) ** 2) / total[:, None]
            mixture = Mixture(total / total.sum(), means, np.maximum(spread, floor))
        counts = np.bincount(mixture.log_joint(values).argmax(1), minlength=k)
        if counts.min() >= LEAST_MEMBERS and (best is None or before > best[0]):
            best = before, mixture
    return best[1] if best else None


def _spread_start(values: FloatArray, k: int, rng: np.random.Generator) -> FloatArray:
    """Choose k of the values, each with a chance that grows with its distance from those chosen."""
    chosen = [int(rng.integers(len(values)))]
    while len(chosen) < k:
        apart = ((values[:, None] - values[chosen]) ** 2).sum(2).min(1)
        total = float(apart.sum())
        chosen.append(int(rng.choice(len(values), p=apart / total) if total > 0 else rng.integers(len(values))))
    return values[chosen].copy()


@dataclass(frozen=True, eq=False)
class ClassModel:
    """What is known of the ways in which one class is decided.

    Attributes
    ----------
    samples : (n,) int64
        Positions in the data set.
    shares : (n, n_channels) float64
        Their large shares, 0 elsewhere.
    axes : (d,) int64
        Channels on which `mixture` is fitted.
    mixture : Mixture
    """

    samples: IntArray
    shares: FloatArray
    axes: IntArray
    mixture: Mixture

    def project(self, shares: FloatArray) -> FloatArray:
        """Return the (n, d) shares that count of (n, n_channels)."""
        return shares[:, self.axes]

    @property
    def members(self) -> IntArray:
        """(n,) component of each sample."""
        return np.asarray(self.mixture.log_joint(self.project(self.shares)).argmax(1))


def model_class(samples: IntArray, shares: FloatArray, rng: np.random.Generator) -> ClassModel:
    """Fit the mixture of one class; the number of components by the Bayesian information criterion."""
    axes = np.argsort(-shares.var(0), kind="stable")[: max(1, min(MOST_AXES, len(samples) // 10))]
    values = shares[:, axes]
    found = [fit(values, k, rng) for k in range(1, min(MOST_PROTOTYPES, len(samples) // LEAST_MEMBERS) + 1)]
    fits = [mixture for mixture in found if mixture is not None]
    return ClassModel(samples, shares, axes, min(fits, key=lambda item: item.criterion(values)))


def large_share_table(atlas: Atlas, layer: str, samples: IntArray) -> FloatArray:
    """Return the (n, n_channels) large shares of some samples; smaller ones count as 0."""
    large = atlas.layers[layer].large
    row = np.full(len(atlas.samples.target), -1)
    row[samples] = np.arange(len(samples))
    known = row[large.sample_index] >= 0
    table = np.zeros((len(samples), atlas.layers[layer].info.n_channels))
    table[row[large.sample_index[known]], large.channel[known]] = large.share[known]
    return table


def find_prototypes(
    atlas: Atlas, layer: str, rng: np.random.Generator
) -> tuple[dict[int, ClassModel], tuple[ClassPrototypes, ...]]:
    """Find the prototypes of every class with enough samples, in one layer."""
    models = {}
    for class_index in np.flatnonzero(atlas.class_counts >= LEAST_SAMPLES).tolist():
        samples = np.flatnonzero(atlas.samples.target == class_index)
        models[class_index] = model_class(samples, large_share_table(atlas, layer, samples), rng)
    return models, tuple(_record(layer, index, model) for index, model in models.items())


def _record(layer: str, class_index: int, model: ClassModel) -> ClassPrototypes:
    joint, members = model.mixture.log_joint(model.project(model.shares)), model.members
    found = []
    for component in np.argsort(-np.bincount(members), kind="stable").tolist():
        own = np.flatnonzero(members == component)
        typical = own[np.argsort(-joint[own, component], kind="stable")][:N_TYPICAL]
        mean = model.shares[own].mean(0)
        leading = np.argsort(-np.abs(mean), kind="stable")[:N_LEADING]
        found.append(
            Prototype(
                n_samples=len(own),
                concepts=tuple(
                    ConceptShare(Concept(layer, channel).key, _share(mean[channel]))
                    for channel in leading.tolist()
                    if mean[channel] != 0
                ),
                typical=tuple(int(index) for index in model.samples[typical]),
                samples=tuple(int(index) for index in model.samples[own]),
            )
        )
    likelihood = _log_sum(joint)
    median = float(np.median(likelihood))
    deviation = 1.4826 * float(np.median(np.abs(likelihood - median)))
    outliers = np.flatnonzero(likelihood < median - FAR * deviation) if deviation > 0 else np.zeros(0, np.int64)
    outliers = outliers[np.argsort(likelihood[outliers], kind="stable")]
    return ClassPrototypes(
        class_index, layer, len(model.samples), tuple(found), tuple(int(index) for index in model.samples[outliers])
    )


def judge_photo(model: ClassModel, shares: FloatArray, layer: str) -> tuple[int, int, tuple[ConceptShare, ...]]:
    """Tell how usual one photo's shares are under its class.

    Parameters
    ----------
    model : ClassModel
    shares : (n_channels,) float64
        All of them; small ones are left out here as they were of the samples.
    layer : str

    Returns
    -------
    prototype : int
        Place among `ClassPrototypes.prototypes`.
    n_less : int
        Samples of the class that are less likely.
    through : tuple of ConceptShare
        Where it differs most from its prototype: share less the prototype's mean.
    """
    large = np.where(np.abs(shares) >= LARGE_SHARE, shares, 0.0)[None]
    place, members = model.project(large), model.members
    component = int(model.mixture.log_joint(place).argmax())
    order = np.argsort(-np.bincount(members), kind="stable").tolist()
    likelihood = float(model.mixture.log_likelihood(place)[0])
    n_less = int((model.mixture.log_likelihood(model.project(model.shares)) < likelihood - 1e-9).sum())
    own = model.shares[members == component]
    difference = large[0] - (own if len(own) else model.shares).mean(0)
    first = np.argsort(-np.abs(difference), kind="stable")[:N_UNUSUAL]
    through = tuple(
        ConceptShare(Concept(layer, channel).key, _share(difference[channel]))
        for channel in first.tolist()
        if abs(difference[channel]) >= LARGE_SHARE
    )
    return (order.index(component) if component in order else 0), n_less, through


def photo_record(
    model: ClassModel, layer: str, shares: FloatArray, *, explanation: str, numbers: str, class_index: int
) -> PhotoUsual:
    """Put what `judge_photo` tells into a record."""
    prototype, n_less, through = judge_photo(model, shares, layer)
    return PhotoUsual(explanation, numbers, class_index, layer, prototype, n_less, len(model.samples), through)


def _share(value: float) -> float:
    return float(min(2.0, max(-2.0, value)))
