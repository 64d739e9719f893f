"""Streaming top-k: the best samples of every channel, under a total order.

Owns the merge of rankings; pure tensor functions on any device. Must not know files or engines.

The total order is score down, then sample_index up. Rows are kept best first, and merging sorts stably with the
earlier samples in front, so equal scores stay in the order of their samples; merging is associative as long as what
is merged comes in the order of the data set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from precompute.records import MISSING, RankingTable


@dataclass(frozen=True, eq=False)
class TopSamples:
    """The best samples so far, channel-major.

    Attributes
    ----------
    score : (n_channels, m) float, m <= k, best first
    sample_index, neuron : (n_channels, m) int64
    """

    score: torch.Tensor
    sample_index: torch.Tensor
    neuron: torch.Tensor


def top_of_batch(score: torch.Tensor, neuron: torch.Tensor, sample_index: torch.Tensor, k: int) -> TopSamples:
    """Rank one batch.

    Parameters
    ----------
    score : (n, n_channels) float
    neuron : (n, n_channels) int64
    sample_index : (n,) int64, ascending
    k : int
        Entries kept for each channel.
    """
    index = sample_index.unsqueeze(0).expand(score.shape[1], -1)
    return _best(TopSamples(score.T.contiguous(), index.contiguous(), neuron.T.contiguous()), k)


def merge(earlier: TopSamples | None, later: TopSamples, k: int) -> TopSamples:
    """Merge two rankings, the first of which holds only earlier samples than the second."""
    if earlier is None:
        return later
    pairs = ((earlier.score, later.score), (earlier.sample_index, later.sample_index), (earlier.neuron, later.neuron))
    return _best(TopSamples(*(torch.cat(pair, dim=1) for pair in pairs)), k)


def _best(candidates: TopSamples, k: int) -> TopSamples:
    score, order = candidates.score.sort(dim=1, descending=True, stable=True)
    order = order[:, :k]
    return TopSamples(score[:, :k], candidates.sample_index.gather(1, order), candidates.neuron.gather(1, order))


def to_table(top: TopSamples, k: int) -> RankingTable:
    """Turn a ranking into the stored (k, n_channels) table, filled up where there are fewer samples."""
    missing = k - top.score.shape[1]

    def column(values: torch.Tensor, dtype: type[np.generic], filling: int) -> np.ndarray:
        stored = values.cpu().numpy().astype(dtype).T
        return np.ascontiguousarray(np.pad(stored, ((0, missing), (0, 0)), constant_values=filling))

    return RankingTable(
        sample_index=column(top.sample_index, np.int64, MISSING),
        score=column(top.score, np.float64, 0),
        neuron=column(top.neuron, np.int64, MISSING),
    )


def from_table(table: RankingTable) -> TopSamples:
    """Turn a stored table back into a ranking, for merging."""
    n_samples = int((table.sample_index[:, :1] != MISSING).sum()) if table.sample_index.size else 0
    columns = (
        torch.from_numpy(values[:n_samples].T.copy()) for values in (table.score, table.sample_index, table.neuron)
    )
    return TopSamples(*columns)
