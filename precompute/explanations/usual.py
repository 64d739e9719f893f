"""What is usual: shares of concepts over the samples of a class, and how often the network was right when this sure.

Owns the statistics over the data set that an explanation is compared with; all of them are read from the mined atlas.
Must not know words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from precompute.records import (
    LARGE_SHARE,
    MISSING,
    SURENESS_BANDS,
    Atlas,
    BoolArray,
    FloatArray,
    IntArray,
    LargeShares,
)

SAME_SHARE = 1e-5
"""Shares that differ by less are the same: rounding differs between mining and explaining."""


@dataclass(frozen=True)
class Accuracy:
    """How often predictions of about this probability were right on labelled samples of the data set.

    Attributes
    ----------
    least, below : float
        The range of probability; `below` is excluded, except where it is 1.
    n_right, n_samples : int
    """

    least: float
    below: float
    n_right: int
    n_samples: int


@dataclass(frozen=True, eq=False)
class ClassShares:
    """Large shares of one layer, each with the class of its sample.

    Attributes
    ----------
    class_index, channel : (m,) int64
    share : (m,) float64
        Signed.
    """

    class_index: IntArray
    channel: IntArray
    share: FloatArray


@dataclass(frozen=True, eq=False)
class UsualShares:
    """Mean shares by class.

    Attributes
    ----------
    counts : (n_classes,) int64
        Samples mined whose target is the class.
    means : dict of str to (n_classes, n_channels) float64
        By layer: mean signed share over those samples; 0 for a class without any.
    large : dict of str to ClassShares
        By layer: every share of at least `LARGE_SHARE`.
    labelled : (n_classes,) bool
        These samples are those with the class as their label; elsewhere they are what the network took for it.
    """

    counts: IntArray
    means: Mapping[str, FloatArray]
    large: Mapping[str, ClassShares]
    labelled: BoolArray

    def mean(self, layer: str, channel: int, class_index: int) -> float | None:
        """Return one mean; None where the layer or the class was not mined."""
        table = self.means.get(layer)
        if table is None or not 0 <= class_index < len(table) or not 0 <= channel < table.shape[1]:
            return None
        return float(table[class_index, channel]) if self.counts[class_index] > 0 else None

    def counts_beside(self, layer: str, channel: int, class_index: int, share: float) -> tuple[int, int]:
        """Count samples of a class of which it is known that the concept has less there, and more.

        Parameters
        ----------
        layer : str
        channel, class_index : int
        share : float
            With which the samples are compared; what has its sign counts as more. Not 0.

        Returns
        -------
        n_less, n_more : int
            Samples with as much count as neither. Where the absolute share is less than `LARGE_SHARE`, fewer may be
            counted than there are, and `n_less` is 0.
        """
        large, side = self.large[layer], 1 if share > 0 else -1
        of_concept = (large.channel == channel) & (large.class_index == class_index)
        known = np.sort(large.share[of_concept] * side)
        more = len(known) - int(np.searchsorted(known, abs(share) + SAME_SHARE, side="right"))
        no_less = len(known) - int(np.searchsorted(known, abs(share) - SAME_SHARE, side="left"))
        is_large = abs(share) - SAME_SHARE >= LARGE_SHARE
        return int(self.counts[class_index]) - no_less if is_large else 0, more

    def others(self, class_index: int) -> list[int]:
        """List the other classes that have samples."""
        return [index for index in np.flatnonzero(self.counts).tolist() if index != class_index]


def usual_shares(atlas: Atlas) -> UsualShares:
    """Divide the class sums of an atlas by its class counts; its scores have to be shares: sums, normalised.

    A layer with something beside it is left out where shares were mined of the layer alone: those of an explanation are
    of all that crosses the network there, and cannot be compared with them.
    """
    counts = np.maximum(atlas.class_counts, 1)[:, None]
    layers = {name: each for name, each in atlas.layers.items() if atlas.scores != "layer" or not each.info.beside}
    means = {name: tables.class_relevance / counts for name, tables in layers.items()}
    large = {name: _class_shares(tables.large, atlas.samples.target) for name, tables in layers.items()}
    return UsualShares(atlas.class_counts, means, large, _labelled(atlas))


def _labelled(atlas: Atlas) -> BoolArray:
    """Find the classes whose mined samples are exactly those with the class as their label."""
    samples, n_classes = atlas.samples, len(atlas.class_counts)
    mined = samples.target != MISSING
    differing = mined & (samples.label != samples.target)
    found = np.ones(n_classes, dtype=bool)
    found[samples.target[differing]] = False
    found[samples.label[differing & (samples.label != MISSING)]] = False
    return found


def _class_shares(large: LargeShares, target: IntArray) -> ClassShares:
    return ClassShares(target[large.sample_index], large.channel, large.share)


def accuracy_at(atlas: Atlas, probability: float) -> Accuracy:
    """Count the right predictions among labelled samples whose probability lies in the same band."""
    least = max(band for band in SURENESS_BANDS if band <= probability)
    below = min((band for band in SURENESS_BANDS if band > probability), default=1.0)
    samples = atlas.samples
    inside = (samples.probability >= least) & ((samples.probability < below) | (below == 1.0))
    usable = inside & (samples.label != MISSING) & (samples.prediction != MISSING)
    return Accuracy(least, below, int((usable & (samples.label == samples.prediction)).sum()), int(usable.sum()))
