"""Streaming statistics: sums by class, histograms and large shares, exact under any order of merging.

Owns the quantum and the bins; pure tensor functions on any device. Must not know files or engines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from precompute.records import LARGE_SHARE, FloatArray, LargeShares

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


def largest_of_samples(score: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Take from each sample of a batch the shares that can be large: without a look at any value, so without a wait.

    Parameters
    ----------
    score : (n, n_channels) float
        Normalised: absolute values of a sample add up to at most 1.

    Returns
    -------
    channel, share : (n, m) int64 and float64, m <= 20
    """
    _, channel = score.abs().topk(min(_MOST_LARGE, score.shape[1]), dim=1)
    return channel, score.gather(1, channel).double()


_MOST_LARGE = round(1 / LARGE_SHARE)


def large_shares(parts: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> LargeShares:
    """Keep what is large of batches in ascending order of their samples.

    Parameters
    ----------
    parts : sequence of (sample_index (n,), channel (n, m), share (n, m))
        As `largest_of_samples` takes them.
    """
    if not parts:
        return LargeShares.none()
    index, channel, share = (torch.cat([part[column] for part in parts]).cpu().numpy() for column in range(3))
    share = np.round(share / QUANTUM_NORMALISED) * QUANTUM_NORMALISED
    row, column = np.nonzero(np.abs(share) >= LARGE_SHARE)
    order = np.lexsort((channel[row, column], index[row]))
    row, column = row[order], column[order]
    return LargeShares(index[row], channel[row, column], share[row, column])


def joined_shares(earlier: LargeShares, later: LargeShares) -> LargeShares:
    """Join the large shares of two parts of a data set, the earlier samples first."""
    return LargeShares(
        np.concatenate([earlier.sample_index, later.sample_index]),
        np.concatenate([earlier.channel, later.channel]),
        np.concatenate([earlier.share, later.share]),
    )
