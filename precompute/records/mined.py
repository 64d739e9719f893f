"""Records of what is mined and rendered: concepts, layers, rankings, tables, reference images.

Knows NumPy and nothing else. Import them from `records`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

Ranking = Literal["relmax", "actmax"]
RANKINGS: tuple[Ranking, ...] = ("relmax", "actmax")

Scores = Literal["cut", "layer", "raw"]

MISSING = -1
"""Fills `sample_index` and `neuron` where a ranking has fewer entries than its length."""


LARGE_SHARE = 0.05
"""Least absolute share that is kept for each sample; a sample has at most 20 in a layer, as all add up to 1."""
SURENESS_BANDS = (0.0, 0.5, 0.8, 0.95)
"""Lower ends of the ranges of probability in which right predictions are counted."""


class Concept(NamedTuple):
    """A concept is exactly one channel of one layer.

    Attributes
    ----------
    layer : str
        Dotted path of the module, for example ``features.28``.
    channel : int
        Index on the feature axis, from 0.
    """

    layer: str
    channel: int

    @property
    def key(self) -> str:
        """Stable text key, ``layer:channel``."""
        return f"{self.layer}:{self.channel}"

    @classmethod
    def parse(cls, key: str) -> Concept:
        """Read a key made by `key`; raises ValueError where it is not one."""
        layer, separator, channel = key.rpartition(":")
        if not separator or not layer or not channel.isdecimal():
            raise ValueError(f"not a concept key: {key!r}, expected 'layer:channel'")
        return cls(layer, int(channel))


class Box(NamedTuple):
    """A rectangle in input pixels: rows [top, bottom), columns [left, right)."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class ReceptiveField:
    """The input region that can affect a neuron, the same for every neuron of a layer up to its position.

    Attributes
    ----------
    size : int
        Side of the square region in input pixels.
    stride : int
        Input pixels between the regions of neighbouring neurons.
    start : int
        Top (and left) of the region of neuron (0, 0) in input pixels; negative where it reaches into the padding.
    """

    size: int
    stride: int
    start: int


@dataclass(frozen=True)
class LayerInfo:
    """What is known of a layer before anything is mined.

    Attributes
    ----------
    name : str
        Dotted module path.
    kind : str
        Class name of the module, for example ``Conv2d``.
    n_channels : int
    height, width : int
        Output size in neurons (1 and 1 for a linear layer).
    receptive_field : ReceptiveField or None
        None where it is the whole input or cannot be derived.
    inputs : tuple of str
        The nearest lower layers of the same selection that feed this one.
    beside : tuple of str
        What runs beside it at its depth: layers and operations that relevance reaches without passing this one.
        Empty where it carries the whole.
    """

    name: str
    kind: str
    n_channels: int
    height: int
    width: int
    receptive_field: ReceptiveField | None = None
    inputs: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class RankingTable:
    """The best samples of every channel of one layer, under the total order score down, sample_index up.

    Attributes
    ----------
    sample_index : (k, n_channels) int64
        Position in the data set; `MISSING` beyond the last entry.
    score : (k, n_channels) float64
        Relevance or activation score; 0 beyond the last entry.
    neuron : (k, n_channels) int64
        Flat arg-max neuron h * width + w; `MISSING` beyond the last entry.
    """

    sample_index: IntArray
    score: FloatArray
    neuron: IntArray

    def telling(self, n: int) -> BoolArray:
        """Tell which of the first n entries show what a channel looks for: the only place that decides it.

        An entry of score zero or below is silent: on such samples the channel did nothing (zeros are in arbitrary
        order) or worked against what the ranking asks for, and their pictures show nothing of it.

        Returns
        -------
        (min(n, k), n_channels) bool
        """
        return np.asarray((self.sample_index[:n] != MISSING) & (self.score[:n] > 0))


@dataclass(frozen=True, eq=False)
class LargeShares:
    """Every share of at least `LARGE_SHARE`, in order of sample, then channel: what is usual is counted from them.

    Attributes
    ----------
    sample_index, channel : (m,) int64
    share : (m,) float64
        Signed relevance score.
    """

    sample_index: IntArray
    channel: IntArray
    share: FloatArray

    @classmethod
    def none(cls) -> LargeShares:
        """Hold no share: raw scores are none."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


@dataclass(frozen=True, eq=False)
class LayerTables:
    """Everything mined for one layer.

    Attributes
    ----------
    info : LayerInfo
    relmax, actmax : RankingTable
    class_relevance, class_activation : (n_classes, n_channels) float64
        Sum of the scores over the samples whose target is the class; divide by `Atlas.class_counts` for the mean.
    relevance_histogram, activation_histogram : (n_channels, n_bins) int64
        Counts of scores per bin of `Atlas.relevance_edges` / `Atlas.activation_edges`.
    large : LargeShares
        Of relevance; none where scores are raw.
    """

    info: LayerInfo
    relmax: RankingTable
    actmax: RankingTable
    class_relevance: FloatArray
    class_activation: FloatArray
    relevance_histogram: IntArray
    activation_histogram: IntArray
    large: LargeShares = field(default_factory=LargeShares.none)

    def ranking(self, ranking: Ranking) -> RankingTable:
        """Return the table of the given ranking."""
        return self.relmax if ranking == "relmax" else self.actmax


@dataclass(frozen=True, eq=False)
class SampleTable:
    """One row per sample of the data set, mined or skipped.

    Attributes
    ----------
    name : tuple of str
        Path relative to the data set's root, with forward slashes. Untrusted until escaped.
    label, prediction, target : (n_samples,) int64
        Class indices; `MISSING` where there is none (no label; skipped).
    probability : (n_samples,) float64
        Softmax of the prediction; nan where skipped.
    skipped : dict of int to str
        Reason by sample_index.
    """

    name: tuple[str, ...]
    label: IntArray
    prediction: IntArray
    target: IntArray
    probability: FloatArray
    skipped: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Atlas:
    """The content of ``atlas.h5``.

    Attributes
    ----------
    name : str
    class_names : tuple of str
        By class index. Untrusted until escaped.
    class_counts : (n_classes,) int64
        Samples mined whose target is the class.
    samples : SampleTable
    relevance_edges, activation_edges : (n_bins + 1,) float64
        Bin edges of the histograms, the same for all channels.
    layers : dict of str to LayerTables
        In forward order.
    provenance : dict
        JSON-ready; digests, versions, seeds, counts.
    scores : {"cut", "layer", "raw"}
        What relevance scores are: shares of all relevance that crosses the network at the layer's depth, shares of
        the layer's, or relevance itself. Activation scores are shares of the layer's but for "raw".
    """

    name: str
    class_names: tuple[str, ...]
    class_counts: IntArray
    samples: SampleTable
    relevance_edges: FloatArray
    activation_edges: FloatArray
    layers: dict[str, LayerTables]
    provenance: dict[str, Any]
    scores: Scores = "cut"

    def concepts(self) -> Iterator[Concept]:
        """Yield every concept in the one order that concepts have: layers in forward order, then channels."""
        for layer, tables in self.layers.items():
            for channel in range(tables.info.n_channels):
                yield Concept(layer, channel)


@dataclass(frozen=True)
class Reference:
    """One reference image of a concept, rendered.

    Attributes
    ----------
    concept : Concept
    ranking : {"relmax", "actmax"}
    rank : int
        From 0.
    sample_index, neuron : int
    score : float
    box : Box
        The crop in pixels of the preprocessed input.
    full : bytes
        WebP of the whole preprocessed input.
    crop : bytes
        WebP of the box.
    masked : bytes
        WebP of the box, dimmed where the heatmap is weak; empty without a heatmap.
    heatmap : bytes
        8-bit grey PNG of the signed heatmap inside the box: relevance = (pixel - 128) / 127 * heatmap_scale;
        empty without a heatmap.
    heatmap_scale : float
        Largest absolute relevance of the heatmap.
    """

    concept: Concept
    ranking: Ranking
    rank: int
    sample_index: int
    neuron: int
    score: float
    box: Box
    full: bytes
    crop: bytes
    masked: bytes = b""
    heatmap: bytes = b""
    heatmap_scale: float = 0.0
