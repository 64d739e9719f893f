"""Records of how far an atlas can be trusted. Import them from `records`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from .values import Count, NotNegative, Share, SignedShare

OffValue = Literal["mean", "zero"]
"""What a channel that is switched off is set to: its mean over the sample's images and space, or 0."""

CurveOrder = Literal["most", "activation", "random", "least", "greedy"]
"""In which order channels are switched off: by signed share from the top, by activation from the top, at random, by
signed share from the bottom; or, each time, the one whose loss lowers the probability most."""


@dataclass(frozen=True)
class AblationCurve:
    """What is left of the target's probability as more and more channels are switched off.

    Attributes
    ----------
    order : str
    n_samples : int
    left : tuple of float
        Mean over samples of the probability over the probability before, for each of `TrustReport.counts`.
    area : float
        Mean height of the curve, each sample's own curve averaged by the trapezoidal rule.
    error : float
        Standard error of `area` over samples; 0 where there is one sample.
    """

    order: CurveOrder
    n_samples: Count
    left: tuple[NotNegative, ...]
    area: NotNegative
    error: NotNegative


@dataclass(frozen=True)
class ClassTrust:
    """How the shares of a layer do for one class.

    Attributes
    ----------
    class_index : int
    n_samples : int
    most, random : float
        Areas, as `AblationCurve.area`.
    correlation : float or None
        As `LayerTrust.correlation`.
    """

    class_index: Count
    n_samples: Count
    most: NotNegative
    random: NotNegative
    correlation: SignedShare | None


@dataclass(frozen=True)
class LayerTrust:
    """What the shares of one layer say about what the network does without its channels.

    Attributes
    ----------
    layer : str
    n_samples : int
    correlation, correlation_error : float or None
        Mean over samples of the rank correlation (Spearman) between a channel's share and the drop of the target's
        logit when it alone is switched off, over channels with a share; its standard error. None where no sample has
        two such channels.
    activation_correlation : float or None
        The same with the activation in place of the share.
    curves : tuple of AblationCurve
    between, between_error : float
        Area of "least" less that of "most", sample by sample; its mean and standard error.
    classes : tuple of ClassTrust
        By class index; only those with samples.
    """

    layer: str
    n_samples: Count
    correlation: SignedShare | None
    correlation_error: NotNegative | None
    activation_correlation: SignedShare | None
    curves: tuple[AblationCurve, ...]
    between: float
    between_error: NotNegative
    classes: tuple[ClassTrust, ...] = ()

    def curve(self, order: CurveOrder) -> AblationCurve | None:
        """Return the curve of one order; None where it was not measured."""
        return next((curve for curve in self.curves if curve.order == order), None)


@dataclass(frozen=True)
class WhatIf:
    """What becomes of one class of one photo without the concepts that its explanation names.

    Attributes
    ----------
    explanation : str
        Its id.
    numbers : str
        `Explanation.digest`: the numbers that the concepts are from.
    class_index : int
    layer : str
    concepts : tuple of str
        Keys of those switched off, by rank.
    before, after : float
        Probability of the class with everything, and without the concepts.
    after_other : float
        As `after`, with the off value that `TrustReport.off` is not.
    alone : tuple of float
        Probability without one of `concepts` alone, in their order.
    n_random : int
        Random sets of as many other channels that have a share; 0 where there are too few.
    random_mean, random_low, random_high : float or None
        Probability without such a set: mean, least and largest.
    """

    explanation: str
    numbers: str
    class_index: Count
    layer: str
    concepts: tuple[str, ...]
    before: Share
    after: Share
    after_other: Share
    alone: tuple[Share, ...]
    n_random: Count
    random_mean: Share | None
    random_low: Share | None
    random_high: Share | None


@dataclass(frozen=True)
class ShortcutFinding:
    """The measured evidence that a class leans on something that is no part of it.

    Attributes
    ----------
    class_index : int
    concept : str
        Key ``layer:channel``.
    n_with, n_without : int
        Samples of the class with a large share of the concept, and without.
    mean_with : float
        Mean share of those with it.
    distance, others_distance : float
        Mean distance, in neurons of the layer, from the concept's place to the class's other concepts in the same
        image, and of these to each other.
    fall_with, fall_without : float
        Mean fall of the class's probability with the concept off, on samples with it and without.
    p_bound, p_apart, p_fall : float
        That so large a value comes by chance: of the share in the class (permuted class labels), of the distance
        (concepts permuted in each image), of the difference of the falls less 0.1 (permuted labels of who has it).
    q : float
        The largest of them, corrected by Benjamini and Hochberg: the share of false ones among all findings with a q
        up to this.
    samples : tuple of int
        Positions in the data set of the samples looked at: those with it, then those without.
    n_looked_with : int
        How many of `samples` have it.
    right_with, right_with_off, right_without, right_without_off : int
        How many of them the network takes for the class, as they are and with the concept off.
    """

    class_index: Count
    concept: str
    n_with: Count
    n_without: Count
    mean_with: Share
    distance: NotNegative
    others_distance: NotNegative
    fall_with: SignedShare
    fall_without: SignedShare
    p_bound: Share
    p_apart: Share
    p_fall: Share
    q: Share
    samples: tuple[Count, ...] = ()
    n_looked_with: Count = 0
    right_with: Count = 0
    right_with_off: Count = 0
    right_without: Count = 0
    right_without_off: Count = 0

    @property
    def is_finding(self) -> bool:
        """Whether it is warned of: the one place that decides it."""
        return self.q <= MOST_FALSE


MOST_FALSE = 0.1
"""Share of false alarms among those warned of."""


@dataclass(frozen=True)
class Audit:
    """The audit for shortcuts.

    Attributes
    ----------
    findings : tuple of ShortcutFinding
        Every candidate, the most serious first; those of which `is_finding` holds are warned of.
    layers : tuple of str
        Looked at.
    n_small : int
        Classes with samples, but too few of them for any comparison.
    n_classes : int
        Classes with samples.
    """

    findings: tuple[ShortcutFinding, ...] = ()
    layers: tuple[str, ...] = ()
    n_small: Count = 0
    n_classes: Count = 0


SanityKind = Literal["weights", "target", "photo"]
"""What was changed: weights drawn anew from the top, the class asked for, or the photo."""


@dataclass(frozen=True)
class LayerStay:
    """What stays of the concepts of one layer where something else is asked.

    Attributes
    ----------
    layer : str
    concepts, error : float
        Mean over images of the part of the five concepts with the largest absolute relevance that are among the five
        of the other; its standard error.
    chance : float
        The same of five channels drawn at random.
    correlation : float or None
        Mean rank correlation of the relevance of all channels.
    """

    layer: str
    concepts: Share
    error: NotNegative
    chance: Share
    correlation: SignedShare | None


@dataclass(frozen=True)
class SanityCheck:
    """What stays of concepts and heatmaps where one thing is changed.

    Attributes
    ----------
    kind : str
    n_modules : int
        Modules from the top whose weights are drawn anew; 0 where no weights are.
    n_samples : int
    maps, error : float
        Mean absolute correlation (Pearson) of the heatmaps; its standard error.
    layers : tuple of LayerStay
    """

    kind: SanityKind
    n_modules: Count
    n_samples: Count
    maps: Share
    error: NotNegative
    layers: tuple[LayerStay, ...]


@dataclass(frozen=True)
class LayerConservation:
    """Where the logit went, in parts of the logit: means over images.

    Attributes
    ----------
    layer : str
    n_samples : int
    own, beside : float
        Through the layer, and beside it.
    biases, stabilisers : float
        What biases (and padding) and stabilisers behind the layer took.
    residual : float
        Largest absolute part of a logit that the parts lack.
    """

    layer: str
    n_samples: Count
    own: float
    beside: float
    biases: float
    stabilisers: float
    residual: NotNegative


LEAST_SIMILARITY = 0.2
"""Mean similarity of the channels of two groups from which they are of one family."""


@dataclass(frozen=True)
class Family:
    """Channels of a layer that are relevant on the same samples at the same places, under like names.

    Attributes
    ----------
    layer : str
    concepts : tuple of str
        Keys, those with most relevance first; two or more.
    similarity : float
        Mean over pairs.
    """

    layer: str
    concepts: tuple[str, ...]
    similarity: Share


@dataclass(frozen=True)
class ConceptShare:
    """A concept with a share, or with a difference of shares."""

    concept: str
    share: float


@dataclass(frozen=True)
class Prototype:
    """One way in which a class is decided: a cluster of its samples' share vectors.

    Attributes
    ----------
    n_samples : int
    concepts : tuple of ConceptShare
        Those with the largest mean shares, counting shares below `LARGE_SHARE` as 0.
    typical, samples : tuple of int
        Positions in the data set: the most typical first, and all.
    """

    n_samples: Count
    concepts: tuple[ConceptShare, ...]
    typical: tuple[Count, ...]
    samples: tuple[Count, ...]


LEAST_SAMPLES = 12
"""Samples of a class below which no prototype is told."""


@dataclass(frozen=True)
class ClassPrototypes:
    """The prototypes of one class in one layer.

    Attributes
    ----------
    class_index : int
    layer : str
    n_samples : int
    prototypes : tuple of Prototype
        The largest first.
    outliers : tuple of int
        Positions in the data set of samples decided unusually, the least likely first.
    """

    class_index: Count
    layer: str
    n_samples: Count
    prototypes: tuple[Prototype, ...]
    outliers: tuple[Count, ...] = ()


@dataclass(frozen=True)
class PhotoUsual:
    """How usual the shares of an explained photo are among the samples of its class.

    Attributes
    ----------
    explanation, numbers : str
        As in `WhatIf`.
    class_index : int
    layer : str
    prototype : int
        The nearest, by its place in `ClassPrototypes.prototypes`.
    n_less, n_samples : int
        Samples of the class that are less likely, and all.
    through : tuple of ConceptShare
        Where it differs most from its prototype: the difference of the share.
    """

    explanation: str
    numbers: str
    class_index: Count
    layer: str
    prototype: Count
    n_less: Count
    n_samples: Count
    through: tuple[ConceptShare, ...] = ()

    @property
    def is_unusual(self) -> bool:
        """Whether hardly any sample of the class is less likely: the one place that decides it."""
        return self.n_less <= RARE * self.n_samples


RARE = 0.05
"""A photo is unusual where at most this part of the class's samples is less likely."""


@dataclass(frozen=True)
class TrustReport:
    """The content of ``trust.json``.

    Attributes
    ----------
    off : str
        What channels that are switched off are set to.
    counts : tuple of int
        How many channels are off at each point of a curve.
    sample : tuple of int
        Positions in the data set of the samples measured.
    layers : tuple of LayerTrust
        In forward order.
    photos : tuple of WhatIf
        One for each explained class of each explained photo at hand, and each of its layers.
    audit : Audit or None
    conservation : tuple of LayerConservation
    sanity : tuple of SanityCheck
    n_modules : int
        Modules of the network with weights.
    families : tuple of Family
    prototypes : tuple of ClassPrototypes
        Of the layers that are explained.
    usual : tuple of PhotoUsual
        One for each explained photo at hand, of the class that the network says.
    parts : dict of str to str
        Digest of everything that each part was made from, by the part's name; a part whose digest is as it would be
        now is kept.
    """

    FILE_FORMAT: ClassVar[tuple[str, int]] = ("trust", 1)

    off: OffValue = "mean"
    counts: tuple[Count, ...] = ()
    sample: tuple[Count, ...] = ()
    layers: tuple[LayerTrust, ...] = ()
    photos: tuple[WhatIf, ...] = ()
    audit: Audit | None = None
    conservation: tuple[LayerConservation, ...] = ()
    sanity: tuple[SanityCheck, ...] = ()
    n_modules: Count = 0
    families: tuple[Family, ...] = ()
    prototypes: tuple[ClassPrototypes, ...] = ()
    usual: tuple[PhotoUsual, ...] = ()
    parts: dict[str, str] = field(default_factory=dict)
