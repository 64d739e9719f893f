"""The table of one prediction: every number that its facts may rest on, and nothing else.

Owns what is compared with what: the target, the runner-up, the label, the shares of each layer, and what is usual for
the class. Must not know facts, words or language models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from precompute.records import (
    Concept,
    ConceptAttribution,
    ConceptName,
    CutSplit,
    Explanation,
    LayerExplanation,
    TargetExplanation,
)

from .usual import Accuracy, UsualShares


@dataclass(frozen=True)
class ClassRef:
    """A class by index and name; the name is untrusted until escaped."""

    index: int
    name: str


@dataclass(frozen=True)
class Usual:
    """What is usual of one concept.

    Attributes
    ----------
    mean : float
        Mean share over the samples of the class explained.
    n_samples : int
        Of that class.
    n_less, n_more : int
        How many of them are known to have less of the concept than this photo, on the side that it is on here, and
        how many more.
    elsewhere : float
        Largest absolute mean over the samples of any other class; 0 where there is no other.
    other : ClassRef or None
        The other class with the largest signed mean; None where there is no other.
    other_mean : float
    is_labelled : bool
        The samples of the class are those labelled so; else those that the network took for it.
    """

    mean: float
    n_samples: int
    n_less: int
    n_more: int
    elsewhere: float
    other: ClassRef | None
    other_mean: float
    is_labelled: bool


@dataclass(frozen=True)
class SubRow:
    """A concept one layer down that carried a concept's relevance; `share` is of what was passed down."""

    key: str
    share: float


@dataclass(frozen=True)
class ConceptRow:
    """One concept of a layer.

    Attributes
    ----------
    id : str
        ``C1`` … in the order of layers and ranks.
    key, layer : str
    channel, rank : int
    share : float
        Signed, of its layer.
    direction : int
        +1 where the share has the sign of the logit, -1 where it has the other sign, 0 where either is zero.
    relevance, activation : float
    area : float or None
        None where nothing can be located, as is `place` empty there.
    place : str
        Words of `records.Place`.
    runner_up_share : float or None
        Its share for the runner-up, where that class was explained too and has a positive logit.
    usual : Usual or None
        None where the data set has no samples of the class, or stores no shares.
    below : tuple of SubRow
        By absolute share.
    """

    id: str
    key: str
    layer: str
    channel: int
    rank: int
    share: float
    direction: int
    relevance: float
    activation: float
    area: float | None
    place: str
    runner_up_share: float | None
    usual: Usual | None
    below: tuple[SubRow, ...]


@dataclass(frozen=True)
class UsualLeader:
    """The concept with the largest mean share for the class, and its share in this photo."""

    key: str
    mean: float
    n_samples: int
    share: float


@dataclass(frozen=True)
class LayerRow:
    """One layer.

    Attributes
    ----------
    id : str
        ``L1`` ….
    layer : str
    shares : tuple of float
        Signed, of every channel.
    relevance_sum : float
        In units of the logit.
    concepts : tuple of ConceptRow
        Those shown, by rank.
    leader : UsualLeader or None
    sign : int
        Of the logit.
    cut : CutSplit or None
        Where the logit went at the layer's depth; None where it is not known.
    coverage, rest_share, beside_share : float
        Of the relevance that crosses the network at the layer's depth: what the concepts shown carry, what the other
        channels do, and what runs beside the layer.
    n_others : int
        Channels that are not shown and whose share is not 0.
    """

    id: str
    layer: str
    shares: tuple[float, ...]
    relevance_sum: float
    concepts: tuple[ConceptRow, ...]
    leader: UsualLeader | None
    sign: int
    cut: CutSplit | None
    coverage: float
    rest_share: float
    beside_share: float
    n_others: int

    def total(self, direction: int) -> float:
        """Sum the absolute shares of all channels with the sign of the logit (+1) or with the other (-1)."""
        return sum(abs(share) for share in self.shares if share * self.sign * direction > 0)


@dataclass(frozen=True)
class PredictionTable:
    """Everything that can be said of one target of one photo.

    Attributes
    ----------
    key : str
        Id of the explanation and index of the target; seeds what may vary.
    target, predicted : ClassRef
        The class explained, and the most probable one.
    probability, logit : float
    label : str
        Empty where unknown.
    runner_up : ClassRef or None
        The most probable class other than the target.
    runner_up_probability : float
    accuracy : Accuracy or None
        None where the target is not the prediction.
    layers : tuple of LayerRow
    names : dict of str to ConceptName
        Usable names of every concept that a fact may mention.
    is_exclusive : bool
        The classes exclude each other, so that their probabilities add up to 1.
    """

    key: str
    target: ClassRef
    predicted: ClassRef
    probability: float
    logit: float
    label: str
    runner_up: ClassRef | None
    runner_up_probability: float
    accuracy: Accuracy | None
    layers: tuple[LayerRow, ...]
    names: Mapping[str, ConceptName] = field(default_factory=dict)
    is_exclusive: bool = True

    @property
    def is_predicted(self) -> bool:
        """Whether the class explained is the most probable one."""
        return self.target.index == self.predicted.index

    @property
    def main(self) -> LayerRow | None:
        """The layer that most of the score went through: of parallel layers the first may hold little of it."""
        carrying = [layer for layer in self.layers if any(row.share for row in layer.concepts)]
        return max(carrying or self.layers, key=lambda layer: abs(layer.relevance_sum), default=None)

    def rows(self) -> Iterator[ConceptRow]:
        """List the concepts of all layers."""
        for layer in self.layers:
            yield from layer.concepts

    def name(self, key: str) -> ConceptName | None:
        """Return the name of a concept; None where nobody named it."""
        return self.names.get(key)

    def class_name(self, index: int) -> str:
        """Return the name of one of the table's classes.

        Raises
        ------
        KeyError
            The table does not speak of that class.
        """
        return {ref.index: ref.name for ref in self.classes()}[index]

    def classes(self) -> Iterator[ClassRef]:
        """List the classes that facts may speak of."""
        yield from (ref for ref in (self.target, self.predicted, self.runner_up) if ref)
        yield from (row.usual.other for row in self.rows() if row.usual and row.usual.other)


def build_prediction(
    explanation: Explanation,
    target: TargetExplanation,
    names: Mapping[str, ConceptName],
    *,
    class_names: Sequence[str] = (),
    usual: UsualShares | None = None,
    accuracy: Accuracy | None = None,
) -> PredictionTable:
    """Collect everything that may be said of one target.

    Parameters
    ----------
    explanation : Explanation
    target : TargetExplanation
        One of `explanation.targets`.
    names : mapping of concept key to ConceptName
        May hold names of the whole atlas; failed and missing ones leave a concept unnamed.
    class_names : sequence of str
        Of every class of the model, for those that `usual` speaks of.
    usual : UsualShares, optional
    accuracy : Accuracy, optional
        Of predictions as probable as this one; dropped where the target is not the prediction, or where an image can
        have several labels.
    """
    predicted = min(explanation.predictions, key=lambda item: (-item.probability, item.class_index), default=target)
    others = [item for item in explanation.predictions if item.class_index != target.class_index]
    second = min(others, key=lambda item: (-item.probability, item.class_index), default=None)
    rival = next((item for item in explanation.targets if second and item.class_index == second.class_index), None)
    builder = _Builder(target, rival, usual, class_names)
    layers = tuple(builder.layer(f"L{number}", layer) for number, layer in enumerate(target.layers, start=1))
    mentioned = {row.key for layer in layers for row in layer.concepts}
    mentioned |= {sub.key for layer in layers for row in layer.concepts for sub in row.below}
    mentioned |= {layer.leader.key for layer in layers if layer.leader}
    is_predicted = predicted.class_index == target.class_index
    is_exclusive = explanation.task != "labels"
    return PredictionTable(
        key=f"{explanation.id} {target.class_index}",
        target=ClassRef(target.class_index, target.class_name),
        predicted=ClassRef(predicted.class_index, predicted.class_name),
        probability=target.probability,
        logit=target.logit,
        label=explanation.label,
        runner_up=ClassRef(second.class_index, second.class_name) if second else None,
        runner_up_probability=second.probability if second else 0.0,
        accuracy=accuracy if is_predicted and is_exclusive else None,
        layers=layers,
        names={key: name for key in sorted(mentioned) if (name := _usable(names.get(key)))},
        is_exclusive=is_exclusive,
    )


class _Builder:
    """Numbers the concepts through all layers."""

    def __init__(
        self,
        target: TargetExplanation,
        rival: TargetExplanation | None,
        usual: UsualShares | None,
        class_names: Sequence[str],
    ) -> None:
        self._target, self._rival, self._usual, self._class_names = target, rival, usual, class_names
        self._sign = _sign(target.logit)
        self._number = 0

    def layer(self, layer_id: str, layer: LayerExplanation) -> LayerRow:
        return LayerRow(
            id=layer_id,
            layer=layer.layer,
            shares=layer.shares,
            relevance_sum=layer.relevance_sum,
            concepts=tuple(self._concept(item) for item in sorted(layer.concepts, key=lambda item: item.rank)),
            leader=self._leader(layer),
            sign=self._sign,
            cut=layer.cut,
            coverage=layer.coverage,
            rest_share=layer.rest_share,
            beside_share=layer.beside_share,
            n_others=layer.n_others,
        )

    def _concept(self, item: ConceptAttribution) -> ConceptRow:
        self._number += 1
        concept = Concept.parse(item.concept)
        is_placed = "nowhere" not in item.place.words
        below = sorted(item.sub_concepts, key=lambda sub: (-abs(sub.share), sub.concept))
        return ConceptRow(
            id=f"C{self._number}",
            key=item.concept,
            layer=concept.layer,
            channel=concept.channel,
            rank=item.rank,
            share=item.share,
            direction=_sign(item.share) * self._sign,
            relevance=item.relevance,
            activation=item.activation,
            area=item.place.area if is_placed else None,
            place=item.place.words if is_placed else "",
            runner_up_share=self._rival_share(concept),
            usual=self._usual_of(concept, item.share),
            below=tuple(SubRow(sub.concept, sub.share) for sub in below if sub.share),
        )

    def _rival_share(self, concept: Concept) -> float | None:
        for layer in self._rival.layers if self._rival and self._rival.logit > 0 else ():
            if layer.layer == concept.layer and concept.channel < len(layer.shares):
                return layer.shares[concept.channel]
        return None

    def _usual_of(self, concept: Concept, share: float) -> Usual | None:
        usual, index = self._usual, self._target.class_index
        mean = usual.mean(concept.layer, concept.channel, index) if usual else None
        if usual is None or mean is None:
            return None
        table = usual.means[concept.layer]
        elsewhere = [(float(table[other, concept.channel]), other) for other in usual.others(index)]
        n_less, n_more = usual.counts_beside(concept.layer, concept.channel, index, share) if share else (0, 0)
        other_mean, other = max(elsewhere, key=lambda pair: (pair[0], -pair[1]), default=(0.0, -1))
        return Usual(
            mean=mean,
            n_samples=int(usual.counts[index]),
            n_less=n_less,
            n_more=n_more,
            elsewhere=max((abs(value) for value, _ in elsewhere), default=0.0),
            other=ClassRef(other, self._class_name(other)) if other >= 0 else None,
            other_mean=other_mean,
            is_labelled=bool(usual.labelled[index]),
        )

    def _leader(self, layer: LayerExplanation) -> UsualLeader | None:
        usual, index = self._usual, self._target.class_index
        if usual is None or usual.mean(layer.layer, 0, index) is None or not layer.shares:
            return None
        means = usual.means[layer.layer][index]
        channel = int(means.argmax())
        if channel >= len(layer.shares):
            return None
        key = Concept(layer.layer, channel).key
        return UsualLeader(key, float(means[channel]), int(usual.counts[index]), layer.shares[channel])

    def _class_name(self, index: int) -> str:
        return self._class_names[index] if 0 <= index < len(self._class_names) else f"class {index}"


def _usable(name: ConceptName | None) -> ConceptName | None:
    return name if name and name.is_named else None


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
