"""Records of explanations: the numbers of one photo. Import them from `records`; the words are in `narrated`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from .mined import Box
from .narrated import Fact, Narrative


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
        Signed part of all relevance that crosses the network at the layer's depth (`CutSplit.absolute`), which is the
        layer's own where nothing runs beside it: the true share, never renormalised.
    relevance : float
        Signed, in units of the logit.
    activation : float
        As `relevance.activation` of the config says, not divided.
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
class CutPart:
    """Relevance that passed beside a layer.

    Attributes
    ----------
    name : str
        The layer or operation that it went to.
    relevance : float
        Its sum, in units of the logit.
    absolute : float
        The sum of the absolute values of its channels.
    """

    name: str
    relevance: float
    absolute: float


@dataclass(frozen=True)
class CutSplit:
    """How the logit is split at a layer's depth: the layer, `beside`, `biases` and `stabilisers` add up to it.

    Attributes
    ----------
    absolute : float
        The absolute relevance of all channels of the layer and beside it: what shares are shares of.
    beside : tuple of CutPart
        What passed the layer; empty where it carries the whole.
    biases, stabilisers : float
        What was taken up between the layer and the logit.
    """

    absolute: float
    beside: tuple[CutPart, ...]
    biases: float
    stabilisers: float

    @property
    def beside_sum(self) -> float:
        """Relevance that passed the layer, in units of the logit."""
        return sum(part.relevance for part in self.beside)


@dataclass(frozen=True)
class LayerExplanation:
    """One layer's part in one prediction.

    Attributes
    ----------
    layer : str
    shares : tuple of float
        Signed true share of every channel of all relevance that crosses the network at the layer's depth; absolute
        values sum to 1 where the layer carries the whole, else to its part.
    relevance_sum, relevance_absolute_sum : float
        Over channels of the layer, in units of the logit. The absolute sum is of the channels' sums over space.
    coverage : float
        Sum of the absolute shares of `concepts`.
    concepts : tuple of ConceptAttribution
        By rank.
    cut : CutSplit or None
        The split that the shares are of; None where it is not known.
    """

    layer: str
    shares: tuple[float, ...]
    relevance_sum: float
    relevance_absolute_sum: float
    coverage: float
    concepts: tuple[ConceptAttribution, ...]
    cut: CutSplit | None = None

    @property
    def own_share(self) -> float:
        """Sum of the absolute shares of all channels: 1 where the layer carries the whole."""
        return sum(abs(share) for share in self.shares)

    @property
    def beside_share(self) -> float:
        """Share of the relevance that runs beside the layer; 0 where nothing does, or where it is not known."""
        return max(0.0, 1 - self.own_share) if self.cut and self.cut.beside and self.cut.absolute else 0.0

    @property
    def rest_share(self) -> float:
        """Sum of the absolute shares of the channels that are not among `concepts`."""
        return max(0.0, self.own_share - self.coverage)

    @property
    def n_others(self) -> int:
        """Channels that are not among `concepts` and whose share is not 0: those that `rest_share` is of."""
        return sum(share != 0 for share in self.shares) - sum(item.share != 0 for item in self.concepts)


@dataclass(frozen=True)
class TargetExplanation:
    """Why one class of one photo got its score.

    Attributes
    ----------
    class_index : int
    class_name : str
        Untrusted until escaped.
    probability, logit : float
    layers : tuple of LayerExplanation
        The first is the main one, on which the narratives rest.
    heatmap, overlay : str
        Files of the unconditional heatmap.
    heatmap_scale : float
    facts : tuple of Fact
        Everything that is true of it and that a narrative may say.
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
    facts: tuple[Fact, ...] = ()
    narratives: tuple[Narrative, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """One class and its probability (softmax, or sigmoid where the network decides on each label by itself)."""

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
        Untrusted until escaped.
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
        Every class with a probability of at least 0.05 (at most 3), by probability.
    digest : str
        Of everything that the numbers depend on.
    task : str
        Where probabilities come from: ``classes`` (softmax: they add up to 1), ``binary`` (the sigmoid of the one
        logit) or ``labels`` (a sigmoid each: they are independent of each other).
    """

    FILE_FORMAT: ClassVar[tuple[str, int]] = ("explanation", 2)

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
    task: Literal["classes", "binary", "labels"] = "classes"

    def pictures(self) -> Iterator[str]:
        """List the file names of its pictures."""
        yield self.photo
        for target in self.targets:
            concepts = [concept for layer in target.layers for concept in layer.concepts]
            shown: list[TargetExplanation | ConceptAttribution] = [target, *concepts]
            yield from (name for item in shown for name in (item.heatmap, item.overlay) if name)
