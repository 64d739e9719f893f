"""Joins the records of one atlas: what every page needs to know of a concept, a class or an explanation.

Owns the words for authors, missing names and what shares are shares of, and who uses which concept where. Must not
know HTML or files.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from precompute.printing.rules import tell_rules
from precompute.records import (
    MISSING,
    Concept,
    ConceptAttribution,
    ConceptName,
    ConceptScore,
    ConceptTruth,
    Explanation,
    FloatArray,
    LayerExplanation,
    TargetExplanation,
)
from precompute.records.reliability import reliability_words
from sitegen.links import Links
from sitegen.pictures import SpriteSlice

from .illustrations import Illustrations
from .source import AtlasSource

OF_LAYER = "the layer’s relevance"
OF_CUT = "all relevance at the layer’s depth (its own and what runs beside it)"


@dataclass(frozen=True)
class ConceptCard:
    """A concept as it is shown wherever it is mentioned.

    Attributes
    ----------
    key, layer : str
    channel : int
    address : str
        Empty where the concept has no page: it is of a layer that was not mined.
    name : str
        The concept name, ``mixed: A / B``, or layer and channel where there is none. Untrusted until escaped.
    named, mixed : bool
    kind : str
    reliability : str
        What was measured of such names; empty where nothing was.
    author : str
        In words.
    thumbnail : Cut or None
    """

    key: str
    layer: str
    channel: int
    address: str
    name: str
    named: bool
    mixed: bool
    kind: str
    reliability: str
    author: str
    thumbnail: SpriteSlice | None


@dataclass(frozen=True)
class Use:
    """One place in the explanations where a concept is in the table; `parent` is set where it is a sub-concept."""

    explanation: Explanation
    target: TargetExplanation
    share: float
    rank: int
    parent: str = ""


class Catalogue:
    """Lookups over one atlas.

    Parameters
    ----------
    source : AtlasSource
    links : Links
    illustrations : Illustrations
        The pictures, drawn when they are asked for.
    title, description : str
        Of the site.
    """

    def __init__(
        self, source: AtlasSource, links: Links, illustrations: Illustrations, title: str = "", description: str = ""
    ) -> None:
        self.source = source
        self.atlas = source.atlas
        self.links = links
        self.illustrations = illustrations
        self.title = title
        self.description = description
        self._cards: dict[str, ConceptCard] = {}

    def concepts(self) -> Iterator[Concept]:
        """List every concept, in the order of the atlas."""
        return self.atlas.concepts()

    @cached_property
    def n_concepts(self) -> int:
        """Count the concepts of all layers."""
        return sum(tables.info.n_channels for tables in self.atlas.layers.values())

    @cached_property
    def class_indices(self) -> list[int]:
        """Indices of the classes that have samples."""
        return [index for index, number in enumerate(self.atlas.class_counts.tolist()) if number > 0]

    @cached_property
    def n_mined(self) -> int:
        """Samples that were mined."""
        return int(self.atlas.class_counts.sum())

    @cached_property
    def class_means(self) -> dict[str, FloatArray]:
        """Mean relevance score by layer, (n_classes, n_channels); zero for classes without samples."""
        counts = np.maximum(self.atlas.class_counts, 1)[:, None]
        return {layer: tables.class_relevance / counts for layer, tables in self.atlas.layers.items()}

    @cached_property
    def rules_told(self) -> str:
        """Say which rules relevance went by; untrusted until escaped."""
        found = find(self.atlas.provenance, "relevance", {})
        given = found if isinstance(found, dict) else {}
        rules = given.get("rules")
        patterns = {str(key): str(rule) for key, rule in rules.items()} if isinstance(rules, dict) else {}
        composite = str(given.get("composite", "EpsilonPlusFlat"))
        return tell_rules(composite, patterns, str(given.get("gates", "signal")))

    @cached_property
    def scores_are_shares(self) -> bool:
        """Whether a mined score is a share."""
        return self.atlas.scores != "raw"

    def share_of(self, layer: str) -> str:
        """Say what the mined shares of a layer are shares of."""
        return OF_CUT if self.atlas.scores == "cut" and self.atlas.layers[layer].info.beside else OF_LAYER

    @cached_property
    def uses(self) -> dict[str, list[Use]]:
        """Every use of a concept in the explanations, by key."""
        found: dict[str, list[Use]] = defaultdict(list)
        for explanation in self.source.explanations:
            for target in explanation.targets:
                for layer in target.layers:
                    for item in layer.concepts:
                        found[item.concept].append(Use(explanation, target, item.share, item.rank))
                        self._add_sub_uses(found, explanation, target, item)
        return dict(found)

    @staticmethod
    def _add_sub_uses(
        found: dict[str, list[Use]], explanation: Explanation, target: TargetExplanation, item: ConceptAttribution
    ) -> None:
        for rank, sub in enumerate(item.sub_concepts):
            found[sub.concept].append(Use(explanation, target, sub.share, rank, item.concept))

    @cached_property
    def flagged(self) -> dict[str, str]:
        """Why a concept may be a shortcut, by key: a name of kind "mark", or the concept of the planted one."""
        reasons = {key: "named as a mark" for key, name in self.source.names.items() if name.kind == "mark"}
        shortcut = self.source.truth.shortcut if self.source.truth else None
        if shortcut and shortcut.concept:
            reasons[shortcut.concept] = (
                "reacts to the planted mark" if shortcut.used else "is nearest to the planted mark"
            )
        return reasons

    def name(self, key: str) -> ConceptName | None:
        """Return the name record of a concept, failures included."""
        return self.source.names.get(key)

    def score(self, key: str) -> ConceptScore | None:
        """Return the score of a concept's name."""
        return self.source.scores.get(key)

    def truth(self, key: str) -> ConceptTruth | None:
        """Return the truth score of a concept."""
        return self.source.truth.concepts.get(key) if self.source.truth else None

    def card(self, key: str) -> ConceptCard:
        """Return the card of a concept; one of a layer that was not mined gets no address."""
        if key not in self._cards:
            self._cards[key] = self._make_card(Concept.parse(key))
        return self._cards[key]

    def _make_card(self, concept: Concept) -> ConceptCard:
        name = self.source.names.get(concept.key)
        named = name is not None and name.is_named
        tables = self.atlas.layers.get(concept.layer)
        has_page = tables is not None and concept.channel < tables.info.n_channels
        return ConceptCard(
            key=concept.key,
            layer=concept.layer,
            channel=concept.channel,
            address=self.links.concept(concept) if has_page else "",
            name=self.card_name(concept),
            named=named,
            mixed=bool(named and name and name.second_name),
            kind=name.kind if name and named else "",
            reliability=reliability_words(name) if name and named else "",
            author=name.by.words if name and named else "not named",
            thumbnail=self.illustrations.thumbnail(concept),
        )

    def card_name(self, concept: Concept) -> str:
        """Return the name on the card of a concept without drawing its picture; untrusted until escaped."""
        name = self.source.names.get(concept.key)
        return name.title if name is not None and name.is_named else f"channel {concept.channel}"

    @cached_property
    def authors(self) -> list[tuple[str, int]]:
        """Count the names by who gave them, in words, the most first."""
        counted = Counter(name.by.words for name in self.source.names.values() if name.is_named)
        return sorted(counted.items(), key=lambda item: (-item[1], item[0]))

    def best_class(self, concept: Concept) -> int:
        """Return the class to which a concept matters most on average; `MISSING` where to none."""
        means = self.class_means[concept.layer][:, concept.channel]
        best = int(means.argmax()) if len(means) else MISSING
        return best if best != MISSING and means[best] > 0 else MISSING

    def mean_of(self, concept: Concept, class_index: int) -> float:
        """Return a concept's mean relevance score for a class."""
        return float(self.class_means[concept.layer][class_index, concept.channel])

    def address_of_class(self, class_name: str) -> str:
        """Address of the page of a class by its name; empty where it has none."""
        names = list(self.atlas.class_names)
        return self.class_address(names.index(class_name)) if class_name in names else ""

    def class_name(self, class_index: int) -> str:
        """Return the name of a class; untrusted until escaped."""
        names = self.atlas.class_names
        if class_index == MISSING:
            return "no label"
        return names[class_index] if 0 <= class_index < len(names) else f"class {class_index}"

    def class_address(self, class_index: int) -> str:
        """Address of a class's page; empty where the class has no samples."""
        counts = self.atlas.class_counts
        has_page = 0 <= class_index < len(counts) and counts[class_index] > 0
        return self.links.class_page(class_index) if has_page else ""

    def sample_name(self, sample_index: int) -> str:
        """Return the file name of a sample; untrusted until escaped."""
        names = self.atlas.samples.name
        return names[sample_index] if 0 <= sample_index < len(names) else f"sample {sample_index}"

    def sample_label(self, sample_index: int) -> str:
        """Return the label of a sample as a class name; untrusted until escaped."""
        labels = self.atlas.samples.label
        return self.class_name(int(labels[sample_index])) if 0 <= sample_index < len(labels) else ""


def explained_share_of(layer: LayerExplanation) -> str:
    """Say what the shares of an explained layer are shares of."""
    return OF_CUT if layer.cut and layer.cut.beside else OF_LAYER


def find(tree: object, key: str, default: object = None) -> object:
    """Find a key anywhere in nested mappings, the shallowest first."""
    level = [tree]
    while level:
        for item in level:
            if isinstance(item, dict) and key in item:
                return item[key]
        level = [value for item in level if isinstance(item, dict) for value in item.values()]
    return default
