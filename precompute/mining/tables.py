"""One pass over the data set: batches through an engine into the tables of shards, and shards into one atlas.

Owns the accumulation of a shard and the merge of shards. Knows the engine through its interface; must not know
configs beyond its own section, models or where shards lie.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from precompute.config import Task
from precompute.errors import ModelError, StoreError
from precompute.network.heads import compute_probabilities
from precompute.records import (
    MISSING,
    RANKINGS,
    Atlas,
    FloatArray,
    IntArray,
    LayerInfo,
    LayerTables,
    Ranking,
    RankingTable,
    SampleTable,
    Scores,
)
from precompute.relevance.protocol import BatchScores, LayerScores

from .statistics import (
    N_BINS,
    QUANTUM_NORMALISED,
    QUANTUM_RAW,
    add_class_sums,
    add_histogram,
    histogram_edges,
    joined_shares,
    large_shares,
    largest_of_samples,
)
from .top_samples import TopSamples, from_table, merge, to_table, top_of_batch

MINING_VERSION = 4
"""Raise it when the same config over the same images and weights gives other tables: other scores, bins or order."""
UNREAD = 32
"""Batches whose predictions may wait on a device, as each look at them stops it until all its work is done."""


@dataclass(frozen=True)
class Tables:
    """What is mined for: the shape of the tables.

    Attributes
    ----------
    layers : tuple of LayerInfo
        In forward order.
    class_names : tuple of str
    top_k : int
    normalised : bool
        Whether the scores are normalised; sets the bins and the quantum.
    scores : {"cut", "layer", "raw"}
        What relevance scores are, see `Atlas`.
    task : str
        How logits become probabilities.
    """

    layers: tuple[LayerInfo, ...]
    class_names: tuple[str, ...]
    top_k: int
    normalised: bool
    task: Task = "classes"
    scores: Scores = "cut"

    @property
    def edges(self) -> FloatArray:
        """The (N_BINS + 1,) bin edges of both histograms."""
        return histogram_edges(self.normalised)


class _LayerAccumulator:
    """The growing tables of one layer."""

    def __init__(self, info: LayerInfo, tables: Tables, device: torch.device) -> None:
        self._info, self._k, self._normalised = info, tables.top_k, tables.normalised
        self._quantum = QUANTUM_NORMALISED if tables.normalised else QUANTUM_RAW
        self._edges = torch.from_numpy(tables.edges).to(device)
        self._top: dict[Ranking, TopSamples | None] = dict.fromkeys(RANKINGS)
        shape = (len(tables.class_names), info.n_channels)
        self._sums = {name: torch.zeros(shape, dtype=torch.float64, device=device) for name in RANKINGS}
        counts = (info.n_channels, N_BINS)
        self._counts = {name: torch.zeros(counts, dtype=torch.int64, device=device) for name in RANKINGS}
        self._large: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def add(self, scores: LayerScores, index: torch.Tensor, targets: torch.Tensor) -> None:
        by_ranking: dict[Ranking, tuple[torch.Tensor, torch.Tensor]] = {
            "relmax": (scores.relevance, scores.relevance_neuron),
            "actmax": (scores.activation, scores.activation_neuron),
        }
        for ranking, (score, neuron) in by_ranking.items():
            self._top[ranking] = merge(self._top[ranking], top_of_batch(score, neuron, index, self._k), self._k)
            add_class_sums(self._sums[ranking], score, targets, self._quantum)
            add_histogram(self._counts[ranking], score, self._edges)
        if self._normalised:
            self._large.append((index, *largest_of_samples(scores.relevance)))

    def tables(self) -> LayerTables:
        relmax, actmax = (self._table(ranking) for ranking in RANKINGS)
        relevance, activation = (self._sums[ranking].cpu().numpy() for ranking in RANKINGS)
        relevance_counts, activation_counts = (self._counts[ranking].cpu().numpy() for ranking in RANKINGS)
        statistics = (relevance, activation, relevance_counts, activation_counts)
        return LayerTables(self._info, relmax, actmax, *statistics, large_shares(self._large))

    def _table(self, ranking: Ranking) -> RankingTable:
        top = self._top[ranking]
        if top is None:
            nothing = torch.zeros(self._info.n_channels, 0)
            top = TopSamples(nothing, nothing.long(), nothing.long())
        return to_table(top, self._k)


class ShardAccumulator:
    """The growing tables of one shard: the samples [start, stop) of the data set.

    Parameters
    ----------
    tables : Tables
    start, stop : int
    names : sequence of str
        Of these samples.
    labels : (stop - start,) int64
    device : torch.device
        Where the merging happens.
    """

    def __init__(
        self,
        tables: Tables,
        start: int,
        stop: int,
        *,
        names: Sequence[str],
        labels: IntArray,
        device: torch.device,
    ) -> None:
        self._tables, self._start, self._device = tables, start, device
        self._names, self._labels = tuple(names), labels
        self._layers = {info.name: _LayerAccumulator(info, tables, device) for info in tables.layers}
        self._prediction = np.full(stop - start, MISSING, dtype=np.int64)
        self._target = np.full(stop - start, MISSING, dtype=np.int64)
        self._probability = np.full(stop - start, np.nan)
        self._skipped: dict[int, str] = {}
        self._unread: list[tuple[torch.Tensor, torch.Tensor]] = []

    def skip(self, reasons: dict[int, str]) -> None:
        """Note samples that cannot be used, by sample_index."""
        self._skipped.update(reasons)

    def add(self, index: torch.Tensor, scores: BatchScores) -> None:
        """Add a scored batch; `index` (n,) int64 holds its sample indices, ascending.

        Raises
        ------
        ModelError
            The model gave values that are not finite, in this batch or in one of the last before it.
        """
        probability, prediction = compute_probabilities(scores.logits, self._tables.task).max(dim=-1)
        known = [prediction, scores.targets, probability, *self._finite(scores)]
        self._unread.append((index, torch.stack([row.to(torch.float64) for row in known])))
        if self._device.type == "cpu" or len(self._unread) == UNREAD:
            self._read()
        index = index.to(self._device, non_blocking=True)
        for name, layer in self._layers.items():
            layer.add(scores.layers[name], index, scores.targets)

    def _finite(self, scores: BatchScores) -> list[torch.Tensor]:
        """Tell for each sample whether its output is finite, then its relevance and its activation in each layer."""
        layers = [scores.layers[name] for name in self._layers]
        values = [scores.logits, *(value for layer in layers for value in (layer.relevance, layer.activation))]
        return [torch.isfinite(value).all(dim=-1) for value in values]

    def _read(self) -> None:
        """Fetch what is known of the samples of the last batches from the device, in one go."""
        if not self._unread:
            return
        index = torch.cat([index for index, _ in self._unread]).numpy()
        known = torch.cat([known for _, known in self._unread], dim=1).cpu().numpy()
        self._unread.clear()
        prediction, target, probability = known[:3]
        self._check_finite(index, known[3:] != 0)
        rows = index - self._start
        self._prediction[rows], self._target[rows], self._probability[rows] = prediction, target, probability

    def finish(self, name: str, provenance: dict[str, object]) -> Atlas:
        """Return the shard as an atlas of its own samples.

        Raises
        ------
        ModelError
            As `add`.
        """
        self._read()
        used = self._target[self._target != MISSING]
        return Atlas(
            name=name,
            class_names=self._tables.class_names,
            class_counts=np.bincount(used, minlength=len(self._tables.class_names)).astype(np.int64),
            samples=SampleTable(
                self._names, self._labels, self._prediction, self._target, self._probability, dict(self._skipped)
            ),
            relevance_edges=self._tables.edges,
            activation_edges=self._tables.edges,
            layers={name: layer.tables() for name, layer in self._layers.items()},
            provenance=provenance,
            scores=self._tables.scores,
        )

    def _check_finite(self, index: IntArray, finite: npt.NDArray[np.bool_]) -> None:
        """Raise ModelError where a row of `_finite`, (rows, n), has a gap; names the first of the first such sample."""
        if finite.all():
            return
        column = int(np.argmin(finite.all(axis=0)))
        row = int(np.argmin(finite[:, column]))
        what = "the model's output"
        if row:
            what = f"the {('relevance', 'activation')[(row - 1) % 2]} of layer {list(self._layers)[(row - 1) // 2]!r}"
        sample = self._names[int(index[column]) - self._start]
        raise ModelError(
            f"{what} for sample {sample!r} is not finite. The model's weights may "
            "be damaged or may need another preprocessing or precision: check model.weights, preprocessing and "
            "relevance.precision"
        )


def merge_shards(shards: Iterable[Atlas], provenance: dict[str, object]) -> Atlas:
    """Merge shards, given in the order of their samples, into one atlas; holds one of them at a time.

    Raises
    ------
    StoreError
        No shard at all, or the shards do not have the same layers and classes.
    """
    merged: Atlas | None = None
    samples: list[SampleTable] = []
    for shard in shards:
        samples.append(shard.samples)
        merged = _merged(merged, shard) if merged else shard
    if merged is None:
        raise StoreError("there are no shards to merge: run `atlas mine` first")
    return dataclasses.replace(merged, samples=_merge_samples(samples), provenance=provenance)


def _merged(earlier: Atlas, later: Atlas) -> Atlas:
    """Merge two shards but for their samples."""
    same_scores = later.scores == earlier.scores
    if list(later.layers) != list(earlier.layers) or later.class_names != earlier.class_names or not same_scores:
        raise StoreError("the shards were mined for different layers or classes: mine them again with one config")
    return dataclasses.replace(
        earlier,
        class_counts=earlier.class_counts + later.class_counts,
        layers={name: _merge_layer(layer, later.layers[name]) for name, layer in earlier.layers.items()},
    )


def _merge_samples(samples: Sequence[SampleTable]) -> SampleTable:
    skipped = {index: reason for part in samples for index, reason in part.skipped.items()}
    return SampleTable(
        name=tuple(name for part in samples for name in part.name),
        label=np.concatenate([part.label for part in samples]),
        prediction=np.concatenate([part.prediction for part in samples]),
        target=np.concatenate([part.target for part in samples]),
        probability=np.concatenate([part.probability for part in samples]),
        skipped=skipped,
    )


def _merge_layer(earlier: LayerTables, later: LayerTables) -> LayerTables:
    return LayerTables(
        info=earlier.info,
        relmax=_merge_tables(earlier.relmax, later.relmax),
        actmax=_merge_tables(earlier.actmax, later.actmax),
        class_relevance=earlier.class_relevance + later.class_relevance,
        class_activation=earlier.class_activation + later.class_activation,
        relevance_histogram=earlier.relevance_histogram + later.relevance_histogram,
        activation_histogram=earlier.activation_histogram + later.activation_histogram,
        large=joined_shares(earlier.large, later.large),
    )


def _merge_tables(earlier: RankingTable, later: RankingTable) -> RankingTable:
    k = len(earlier.sample_index)
    return to_table(merge(from_table(earlier), from_table(later), k), k)
