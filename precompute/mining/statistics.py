"""Streaming statistics: sums by class and histograms, exact under any order of merging.

Owns the quantum and the bins; pure tensor functions on any device. Must not know files or engines.
"""

from __future__ import annotations

import numpy as np
import torch

from precompute.records import FloatArray

N_BINS = 256

QUANTUM_NORMALISED = 2.0**-40
QUANTUM_RAW = 2.0**-20
"""Scores are rounded to a multiple of this before they are summed by class. Sums of such multiples are exact in
float64 (up to 2**53 of them), so that they do not depend on batches, shards or machines."""


def histogram_edges(normalised: bool) -> FloatArray:
    """Return the (N_BINS + 1,) bin edges: logarithmic in the magnitude on both sides of zero, the same everywhere.

    Normalised scores lie in [-1, 1]; raw ones are counted up to 1e6, and beyond it in the outermost bins.
    """
    largest = 1.0 if normalised else 1e6
    positive = np.geomspace(1e-7 * largest, largest, N_BINS // 2)
    return np.concatenate([-positive[::-1], [0.0], positive])


def add_class_sums(sums: torch.Tensor, score: torch.Tensor, target: torch.Tensor, quantum: float) -> None:
    """Add the scores of a batch to the sums of their targets, in place.

    Parameters
    ----------
    sums : (n_classes, n_channels) float64
    score : (n, n_channels) float
    target : (n,) int64
    quantum : float
    """
    sums.index_add_(0, target, (score.double() / quantum).round_() * quantum)


def add_histogram(counts: torch.Tensor, score: torch.Tensor, edges: torch.Tensor) -> None:
    """Count the scores of a batch, in place; a score on an edge counts in the bin above it.

    Parameters
    ----------
    counts : (n_channels, N_BINS) int64
    score : (n, n_channels) float
    edges : (N_BINS + 1,) float64
    """
    inner = edges[1:-1]
    bins = torch.bucketize(score.T.double().contiguous(), inner, right=True)
    counts.scatter_add_(1, bins, torch.ones_like(bins))
