"""Plain frozen records that move between the stages and to the site.

Owns the vocabulary of the project as data. Knows NumPy and nothing else: no torch, no h5py, no files.
Records that hold arrays are compared by identity; all others by value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

Ranking = Literal["relmax", "actmax"]
RANKINGS: tuple[Ranking, ...] = ("relmax", "actmax")

EMPTY = -1
"""Fills `sample_index` and `neuron` where a ranking has fewer entries than its length."""


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
    """

    name: str
    kind: str
    n_channels: int
    height: int
    width: int
    receptive_field: ReceptiveField | None = None
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class RankingTable:
    """The best samples of every channel of one layer, under the total order score down, sample_index up.

    Attributes
    ----------
    sample_index : (k, n_channels) int64
        Position in the data set; `EMPTY` beyond the last entry.
    score : (k, n_channels) float64
        Relevance or activation score; 0 beyond the last entry.
    neuron : (k, n_channels) int64
        Flat arg-max neuron h * width + w; `EMPTY` beyond the last entry.
    """

    sample_index: IntArray
    score: FloatArray
    neuron: IntArray


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
    """

    info: LayerInfo
    relmax: RankingTable
    actmax: RankingTable
    class_relevance: FloatArray
    class_activation: FloatArray
    relevance_histogram: IntArray
    activation_histogram: IntArray

    def ranking(self, ranking: Ranking) -> RankingTable:
        """Return the table of the given ranking."""
        return self.relmax if ranking == "relmax" else self.actmax


@dataclass(frozen=True, eq=False)
class SampleTable:
    """One row per sample of the data set, mined or skipped.

    Attributes
    ----------
    name : tuple of str
        Path relative to the data set's root, with forward slashes. Hostile until escaped.
    label, prediction, target : (n_samples,) int64
        Class indices; `EMPTY` where there is none (no label; skipped).
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
        By class index. Hostile until escaped.
    class_counts : (n_classes,) int64
        Samples mined whose target is the class.
    samples : SampleTable
    relevance_edges, activation_edges : (n_bins + 1,) float64
        Bin edges of the histograms, the same for all channels.
    layers : dict of str to LayerTables
        In forward order.
    provenance : dict
        JSON-ready; digests, versions, seeds, counts.
    """

    name: str
    class_names: tuple[str, ...]
    class_counts: IntArray
    samples: SampleTable
    relevance_edges: FloatArray
    activation_edges: FloatArray
    layers: dict[str, LayerTables]
    provenance: dict[str, Any]


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


@dataclass(frozen=True)
class ConceptName:
    """What a namer called a concept: a hypothesis, not a fact.

    Attributes
    ----------
    concept : str
        Key ``layer:channel``.
    name, description : str
        Hostile until escaped; empty where `failure` is set.
    author : str
        ``offline``, ``llm:<model>`` or ``person:<who>``.
    kind : str
        object, part, texture, colour, scene, mark or other.
    confidence : float
        0 to 1, the namer's own.
    second_name : str
        Set where the references fall into two groups ("mixed: A / B").
    common : str
        What the reference images have in common.
    outliers : tuple of int
        Ranks of reference images that do not fit.
    evidence : tuple of str
        Facts that the name rests on (offline namer), one short sentence each.
    prompt_digest, raw_reply : str
        Kept for audit; empty for the offline namer and for people.
    failure : str
        Reason why there is no name; empty for success. A failed reply is never prose.
    date : str
        ISO date.
    """

    concept: str
    name: str
    description: str
    author: str
    kind: str = "other"
    confidence: float = 0.0
    second_name: str = ""
    common: str = ""
    outliers: tuple[int, ...] = ()
    evidence: tuple[str, ...] = ()
    prompt_digest: str = ""
    raw_reply: str = ""
    failure: str = ""
    date: str = ""


@dataclass(frozen=True)
class ConceptScore:
    """How well a name tells a concept's held-out references from others.

    Attributes
    ----------
    concept : str
    auprc, f1 : float
        0 to 1.
    shuffled_auprc, shuffled_f1 : float
        The same with another concept's name: a baseline.
    constant_auprc, constant_f1 : float
        The same with one name for all: a baseline.
    stability : float or None
        Agreement of the names from disjoint halves of the references, 0 to 1; None where not measured.
    n_positive, n_negative : int
        Held-out images scored.
    author : str
        Who judged.
    failure : str
    """

    concept: str
    auprc: float = 0.0
    f1: float = 0.0
    shuffled_auprc: float = 0.0
    shuffled_f1: float = 0.0
    constant_auprc: float = 0.0
    constant_f1: float = 0.0
    stability: float | None = None
    n_positive: int = 0
    n_negative: int = 0
    author: str = ""
    failure: str = ""


@dataclass(frozen=True)
class Place:
    """Where a concept's relevance lies in a photo.

    Attributes
    ----------
    box : Box
        Smallest box around 80 % of the positive heatmap mass, in input pixels.
    row, column : float
        Centre of the positive heatmap mass as a fraction of the height and width.
    area : float
        Area of the box over the area of the photo.
    words : str
        For people, for example "upper left"; from a fixed vocabulary.
    """

    box: Box
    row: float
    column: float
    area: float
    words: str


@dataclass(frozen=True)
class SubConcept:
    """A lower-layer concept that carried a concept's relevance; share is of the concept's lower layer total."""

    concept: str
    share: float


@dataclass(frozen=True)
class ConceptAttribution:
    """One concept's part in one prediction.

    Attributes
    ----------
    concept : str
        Key ``layer:channel``.
    rank : int
        From 0, by absolute share within the layer.
    share : float
        Signed relevance over the layer's total absolute relevance: the true share, never renormalised.
    relevance : float
        Signed, in units of the logit.
    activation : float
        Sum over space of the channel's pre-ReLU output.
    place : Place
    heatmap : str
        File name, relative to the explanation's folder: 8-bit grey PNG as in `Reference.heatmap`.
    heatmap_scale : float
    overlay : str
        File name of the heatmap drawn over the photo.
    sub_concepts : tuple of SubConcept
        The top concepts one layer down, by absolute share.
    """

    concept: str
    rank: int
    share: float
    relevance: float
    activation: float
    place: Place
    heatmap: str
    heatmap_scale: float
    overlay: str
    sub_concepts: tuple[SubConcept, ...] = ()


@dataclass(frozen=True)
class LayerExplanation:
    """One layer's part in one prediction.

    Attributes
    ----------
    layer : str
    shares : tuple of float
        Signed true share of every channel; absolute values sum to 1.
    relevance_sum, relevance_absolute_sum : float
        Over channels of the layer, in units of the logit. The absolute sum is of the channels' sums over space.
    coverage : float
        Sum of the absolute shares of `concepts`.
    concepts : tuple of ConceptAttribution
        By rank.
    """

    layer: str
    shares: tuple[float, ...]
    relevance_sum: float
    relevance_absolute_sum: float
    coverage: float
    concepts: tuple[ConceptAttribution, ...]


@dataclass(frozen=True)
class Statement:
    """One sentence of a narrative.

    Attributes
    ----------
    template : str
        As written by its author: prose with placeholders, no digit outside them.
    text : str
        With the values filled in by the renderer. Hostile until escaped.
    concepts : tuple of str
        Keys of the concepts cited.
    """

    template: str
    text: str
    concepts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """A reply of a language model that was not let through, and why."""

    reason: str
    reply: str
    attempt: int


@dataclass(frozen=True)
class Narrative:
    """The words of one explanation for one audience.

    Attributes
    ----------
    audience : str
    author : str
        ``generated`` or ``llm:<model>``.
    statements : tuple of Statement
    language : str
    prompt_digest : str
    refusals : tuple of Refusal
        Replies refused on the way; shown to the reader.
    """

    audience: str
    author: str
    statements: tuple[Statement, ...]
    language: str = "en"
    prompt_digest: str = ""
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True)
class TargetExplanation:
    """Why one class of one photo got its score.

    Attributes
    ----------
    class_index : int
    class_name : str
        Hostile until escaped.
    probability, logit : float
    layers : tuple of LayerExplanation
        The first is the main one, on which the narratives rest.
    heatmap, overlay : str
        Files of the unconditional heatmap.
    heatmap_scale : float
    narratives : tuple of Narrative
    """

    class_index: int
    class_name: str
    probability: float
    logit: float
    layers: tuple[LayerExplanation, ...]
    heatmap: str = ""
    heatmap_scale: float = 0.0
    overlay: str = ""
    narratives: tuple[Narrative, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """One class and its softmax probability."""

    class_index: int
    class_name: str
    probability: float


@dataclass(frozen=True)
class Explanation:
    """The content of ``explanations/<id>.json``; its pictures lie in the folder ``explanations/<id>/``.

    Attributes
    ----------
    id : str
        Stable key: slug of the file name and the start of the digest of its bytes; letters, digits, "-" only.
    photo_name : str
        Hostile until escaped.
    photo_digest : str
        SHA-256 of the file.
    photo : str
        File name of the preprocessed input as a WebP, relative to the explanation's folder.
    width, height : int
        Of the preprocessed input in pixels.
    label : str
        Class name of the ground truth; empty where unknown.
    predictions : tuple of Prediction
        The five most probable.
    targets : tuple of TargetExplanation
        Every class with softmax >= 0.05 (at most 3), by probability.
    digest : str
        Of everything that the numbers depend on.
    """

    id: str
    photo_name: str
    photo_digest: str
    photo: str
    width: int
    height: int
    label: str
    predictions: tuple[Prediction, ...]
    targets: tuple[TargetExplanation, ...]
    digest: str = ""


@dataclass(frozen=True)
class LayerTruth:
    """How well the concepts of one layer match the known parts of the scenes.

    Attributes
    ----------
    layer : str
    n_concepts, n_clear : int
        Concepts scored; those with at least half of their heatmap mass inside one part.
    pointing_game, pointing_game_shuffled : float or None
        Share of reference images whose strongest pixel lies in the part's mask; the same with shuffled masks.
    mass, mass_shuffled : float or None
        Mean share of the heatmap mass inside the part's masks; the same with shuffled masks.
    names_right : float or None
        Share of the names that say the part.
    """

    layer: str
    n_concepts: int = 0
    n_clear: int = 0
    pointing_game: float | None = None
    pointing_game_shuffled: float | None = None
    mass: float | None = None
    mass_shuffled: float | None = None
    names_right: float | None = None


@dataclass(frozen=True)
class ConceptTruth:
    """The part that one concept's reference heatmaps cover most; the figures as in `LayerTruth`."""

    part: str = ""
    mass: float | None = None
    mass_shuffled: float | None = None
    pointing_game: float | None = None
    name_right: bool | None = None


@dataclass(frozen=True)
class ModelTruth:
    """The model's accuracy, 0 to 1, as the scenes are and with the mark moved to another class."""

    accuracy: float | None = None
    accuracy_mark_moved: float | None = None


@dataclass(frozen=True)
class ShortcutTruth:
    """The planted shortcut, and where the atlas shows it.

    Attributes
    ----------
    class_name : str
        The class that mostly carries the mark.
    concept : str
        Key ``layer:channel`` of the concept that reacts to the mark.
    rank : int or None
        Of the concept in its class by mean relevance, from 0.
    mean_share : float or None
        Its mean share over the samples of the class.
    note : str
    """

    class_name: str = ""
    concept: str = ""
    rank: int | None = None
    mean_share: float | None = None
    note: str = ""


@dataclass(frozen=True)
class TruthReport:
    """The content of ``truth.json``: scores against known truth, where a data set has it.

    Attributes
    ----------
    layers : tuple of LayerTruth
        In forward order.
    concepts : dict of str to ConceptTruth
        By key ``layer:channel``.
    model, shortcut : ModelTruth, ShortcutTruth or None
    """

    layers: tuple[LayerTruth, ...] = ()
    concepts: dict[str, ConceptTruth] = field(default_factory=dict)
    model: ModelTruth | None = None
    shortcut: ShortcutTruth | None = None
