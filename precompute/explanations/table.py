"""The table of one prediction: everything that its narratives may say, and nothing else.

Owns local ids (C1, C1.1, L1) and the quantities behind them. Must not know words, placeholders or language models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from precompute.atlas.records import (
    Concept,
    ConceptAttribution,
    ConceptName,
    Explanation,
    LayerExplanation,
    SubConcept,
    TargetExplanation,
)


@dataclass(frozen=True)
class ConceptRow:
    """One concept of the table.

    Attributes
    ----------
    id : str
        ``C1`` … in the order of layers and ranks; ``C1.1`` … for the sub-concepts of C1.
    concept : str
        Key ``layer:channel``.
    layer_id : str
        ``L1`` …; for a sub-concept the layer of its parent.
    layer : str
    channel : int
    share : float
        Signed true share of its layer; of a sub-concept: of what its parent passed down to that layer.
    direction : int
        +1 where the share has the sign of the logit, -1 where it has the other sign, 0 where either is zero.
    rank : int
        From 0, by absolute share, within the layer or within the parent.
    relevance, activation, area : float or None
        None for sub-concepts.
    place : str
        Words of `records.Place`; empty for sub-concepts, and where the heatmap has no relevance to locate.
    runner_up_share : float or None
        The same channel's share for the runner-up class, where that class was explained too.
    name : ConceptName or None
        None where nobody named it, or naming failed.
    parent : str
        Id of the concept above; empty for the concepts of a layer.
    """

    id: str
    concept: str
    layer_id: str
    layer: str
    channel: int
    share: float
    direction: int
    rank: int
    relevance: float | None = None
    activation: float | None = None
    area: float | None = None
    place: str = ""
    runner_up_share: float | None = None
    name: ConceptName | None = None
    parent: str = ""

    @property
    def magnitude(self) -> float:
        """The absolute share."""
        return abs(self.share)


@dataclass(frozen=True)
class LayerRow:
    """One layer of the table.

    Attributes
    ----------
    id : str
        ``L1`` ….
    layer : str
    n_channels, n_concepts : int
        All channels, and those shown.
    n_carrying : int
        Channels that are not shown and whose share is not zero.
    coverage : float
        Sum of the absolute shares shown.
    supporting, opposing : float
        Sum of the absolute shares, over all channels, with the sign of the logit and with the other sign.
    relevance_sum : float
        In units of the logit.
    """

    id: str
    layer: str
    n_channels: int
    n_concepts: int
    n_carrying: int
    coverage: float
    supporting: float
    opposing: float
    relevance_sum: float


@dataclass(frozen=True)
class ExplanationTable:
    """What can be said of one target of one photo.

    Attributes
    ----------
    class_name : str
        Hostile until escaped, as are all names in here.
    probability, logit : float
    runner_up : str
        The most probable class other than this one; empty where no other is known.
    runner_up_probability : float or None
    layers : tuple of LayerRow
    concepts : tuple of ConceptRow
        Each followed by its sub-concepts.
    other_names : frozenset of str
        Names of the atlas's concepts that are not in this table: a narrative may not use them.
    other_classes : frozenset of str
        Names of classes that are neither the target nor the runner-up.
    """

    class_name: str
    probability: float
    logit: float
    runner_up: str
    runner_up_probability: float | None
    layers: tuple[LayerRow, ...]
    concepts: tuple[ConceptRow, ...]
    other_names: frozenset[str] = frozenset()
    other_classes: frozenset[str] = frozenset()

    def concept(self, concept_id: str) -> ConceptRow | None:
        """Find a concept by its local id."""
        return next((row for row in self.concepts if row.id == concept_id), None)

    def layer(self, layer_id: str) -> LayerRow | None:
        """Find a layer by its local id."""
        return next((row for row in self.layers if row.id == layer_id), None)

    def shown(self, layer_id: str) -> tuple[ConceptRow, ...]:
        """List the concepts of a layer by rank, without sub-concepts."""
        return tuple(row for row in self.concepts if row.layer_id == layer_id and not row.parent)

    def sub_concepts(self, concept_id: str) -> tuple[ConceptRow, ...]:
        """List the sub-concepts of a concept by rank."""
        return tuple(row for row in self.concepts if row.parent == concept_id)

    def peers(self, row: ConceptRow) -> tuple[ConceptRow, ...]:
        """List the concepts that `row` is ranked among: those of its layer, or its parent's sub-concepts there."""
        if not row.parent:
            return self.shown(row.layer_id)
        return tuple(other for other in self.sub_concepts(row.parent) if other.layer == row.layer)

    def has_namesake(self, row: ConceptRow) -> bool:
        """Whether another concept of the table has the same name."""
        others = (other.name for other in self.concepts if other.concept != row.concept)
        return row.name is not None and row.name.name in (name.name for name in others if name)

    def is_largest(self, row: ConceptRow, direction: int = 0) -> bool:
        """Whether no peer has as large an absolute share; with a direction, no peer of that direction."""
        others = (other for other in self.peers(row) if other.id != row.id and direction in (0, other.direction))
        return direction in (0, row.direction) and row.magnitude > max((o.magnitude for o in others), default=0.0)


def build_table(
    explanation: Explanation,
    target: TargetExplanation,
    names: Mapping[str, ConceptName],
    class_names: Iterable[str] = (),
) -> ExplanationTable:
    """Collect everything that may be said of one target.

    Parameters
    ----------
    explanation : Explanation
    target : TargetExplanation
        One of `explanation.targets`.
    names : mapping of concept key to ConceptName
        May hold names of the whole atlas; failed and missing ones leave a concept unnamed.
    class_names : iterable of str
        All classes of the model, so that a text that speaks of another one is found out.
    """
    runner_up = _runner_up(explanation, target)
    rival = next((other for other in explanation.targets if runner_up and other.class_index == runner_up[0]), None)
    layers = tuple(_layer_row(f"L{index}", layer, target.logit) for index, layer in enumerate(target.layers, start=1))
    concepts = tuple(_concept_rows(target, rival, names))
    allowed = {target.class_name, runner_up[1] if runner_up else ""}
    classes = {prediction.class_name for prediction in explanation.predictions} | set(class_names)
    return ExplanationTable(
        class_name=target.class_name,
        probability=target.probability,
        logit=target.logit,
        runner_up=runner_up[1] if runner_up else "",
        runner_up_probability=runner_up[2] if runner_up else None,
        layers=layers,
        concepts=concepts,
        other_names=_other_names(names, concepts),
        other_classes=frozenset(classes - allowed - {""}),
    )


def negated(table: ExplanationTable) -> ExplanationTable:
    """Turn the sign of every share, as the swap test of the narratives asks for."""
    rows = tuple(
        replace(
            row,
            share=-row.share,
            direction=-row.direction,
            relevance=None if row.relevance is None else -row.relevance,
        )
        for row in table.concepts
    )
    layers = tuple(
        replace(row, supporting=row.opposing, opposing=row.supporting, relevance_sum=-row.relevance_sum)
        for row in table.layers
    )
    return replace(table, concepts=rows, layers=layers)


def _runner_up(explanation: Explanation, target: TargetExplanation) -> tuple[int, str, float] | None:
    others = [p for p in explanation.predictions if p.class_index != target.class_index]
    if not others:
        return None
    best = max(others, key=lambda prediction: (prediction.probability, -prediction.class_index))
    return best.class_index, best.class_name, best.probability


def _layer_row(layer_id: str, layer: LayerExplanation, logit: float) -> LayerRow:
    positive = sum(share for share in layer.shares if share > 0)
    negative = sum(-share for share in layer.shares if share < 0)
    supporting, opposing = (positive, negative) if logit >= 0 else (negative, positive)
    return LayerRow(
        id=layer_id,
        layer=layer.layer,
        n_channels=len(layer.shares),
        n_concepts=len(layer.concepts),
        n_carrying=sum(share != 0 for share in layer.shares) - sum(row.share != 0 for row in layer.concepts),
        coverage=layer.coverage,
        supporting=supporting,
        opposing=opposing,
        relevance_sum=layer.relevance_sum,
    )


def _concept_rows(
    target: TargetExplanation, rival: TargetExplanation | None, names: Mapping[str, ConceptName]
) -> Iterable[ConceptRow]:
    number = 0
    for index, layer in enumerate(target.layers, start=1):
        for attribution in sorted(layer.concepts, key=lambda concept: concept.rank):
            number += 1
            row = _concept_row(f"C{number}", f"L{index}", attribution, target.logit, names)
            yield replace(row, runner_up_share=_rival_share(rival, row))
            ranks: dict[str, int] = {}
            for position, sub in enumerate(_by_share(attribution.sub_concepts), start=1):
                below = _sub_row(f"{row.id}.{position}", row, sub, target.logit, names)
                rank = ranks.setdefault(below.layer, 0)
                ranks[below.layer] += 1
                yield replace(below, rank=rank)


def _by_share(sub_concepts: Iterable[SubConcept]) -> list[SubConcept]:
    return sorted(sub_concepts, key=lambda sub: (-abs(sub.share), sub.concept))


def _concept_row(
    concept_id: str, layer_id: str, attribution: ConceptAttribution, logit: float, names: Mapping[str, ConceptName]
) -> ConceptRow:
    concept = Concept.parse(attribution.concept)
    known_place = "nowhere" not in attribution.place.words
    return ConceptRow(
        id=concept_id,
        concept=attribution.concept,
        layer_id=layer_id,
        layer=concept.layer,
        channel=concept.channel,
        share=attribution.share,
        direction=_sign(attribution.share) * _sign(logit),
        rank=attribution.rank,
        relevance=attribution.relevance,
        activation=attribution.activation,
        area=attribution.place.area if known_place else None,
        place=attribution.place.words if known_place else "",
        name=_usable(names.get(attribution.concept)),
    )


def _sub_row(
    concept_id: str, parent: ConceptRow, sub: SubConcept, logit: float, names: Mapping[str, ConceptName]
) -> ConceptRow:
    concept = Concept.parse(sub.concept)
    return ConceptRow(
        id=concept_id,
        concept=sub.concept,
        layer_id=parent.layer_id,
        layer=concept.layer,
        channel=concept.channel,
        share=sub.share,
        direction=_sign(sub.share) * _sign(logit),
        rank=0,
        name=_usable(names.get(sub.concept)),
        parent=parent.id,
    )


def _rival_share(rival: TargetExplanation | None, row: ConceptRow) -> float | None:
    for layer in rival.layers if rival else ():
        if layer.layer == row.layer and row.channel < len(layer.shares):
            return layer.shares[row.channel]
    return None


def _usable(name: ConceptName | None) -> ConceptName | None:
    return name if name and name.is_named else None


def _other_names(names: Mapping[str, ConceptName], rows: Iterable[ConceptRow]) -> frozenset[str]:
    rows = tuple(rows)
    here = {row.concept for row in rows}
    own = {text for row in rows if row.name for text in (row.name.name, row.name.second_name)}
    others = (name for key, name in names.items() if key not in here and _usable(name))
    return frozenset({text for name in others for text in (name.name, name.second_name)} - own - {""})


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
