"""The explanation pages and their index."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from markupsafe import Markup, escape

from precompute.atlas.json_records import to_json
from precompute.atlas.records import (
    ConceptAttribution,
    Explanation,
    LayerExplanation,
    Narrative,
    Statement,
    TargetExplanation,
)
from sitegen import links
from sitegen.data.catalogue import Catalogue

from .page import Page, Section

AUDIENCE_WORDS = {"stakeholder": "In plain words", "expert": "For experts"}

PictureAddress = Callable[[str, str], str]
"""From the file names of an overlay and of its heatmap to the address of what is shown."""


def explanation_pages(catalogue: Catalogue) -> Iterator[Page]:
    """List the index and the page of each explained photo."""
    yield Page(links.EXPLANATIONS, "Explanations", "explanations.html.j2", lambda: explanations_context(catalogue))
    for position, item in enumerate(catalogue.source.explanations):
        address = catalogue.links.explanation(item.id)
        best = item.predictions[0].class_name if item.predictions else item.photo_name
        yield Page(
            address,
            f"{best}: {item.photo_name}",
            "explanation.html.j2",
            partial(explanation_context, catalogue, position),
            partial(_explanation_data, item, address),
        )


SECTIONS = (Section("Explanations", links.EXPLANATIONS, 10, explanation_pages),)


def _explanation_data(explanation: Explanation, address: str) -> dict[str, str]:
    return {links.json_of(address): to_json(explanation, indent=1) + "\n"}


def explanation_context(catalogue: Catalogue, position: int) -> dict[str, Any]:
    """Gather what one explanation's page shows; `position` is its place among all."""
    explanations = catalogue.source.explanations
    explanation = explanations[position]
    picture = partial(catalogue.illustrations.picture, explanation)
    page = catalogue.links.explanation(explanation.id)
    return {
        "explanation": explanation,
        "photo": catalogue.illustrations.photo(explanation),
        "predictions": _predictions(catalogue, explanation),
        "targets": [_target(catalogue, target, picture, links.root_of(page)) for target in explanation.targets],
        "catalogue": catalogue,
        "previous": explanations[position - 1] if position else None,
        "following": explanations[position + 1] if position + 1 < len(explanations) else None,
    }


def _predictions(catalogue: Catalogue, explanation: Explanation) -> list[dict[str, Any]]:
    explained = {target.class_index for target in explanation.targets}
    return [
        {
            "name": item.class_name,
            "address": catalogue.class_address(item.class_index),
            "probability": item.probability,
            "explained": item.class_index in explained,
        }
        for item in explanation.predictions
    ]


def _target(catalogue: Catalogue, target: TargetExplanation, picture: PictureAddress, root: str) -> dict[str, Any]:
    return {
        "target": target,
        "address": catalogue.class_address(target.class_index),
        "picture": picture(target.overlay, target.heatmap),
        "narratives": [_narrative(catalogue, item, root) for item in in_reading_order(target.narratives)],
        "layers": [_layer(catalogue, layer, target, picture) for layer in target.layers],
    }


def in_reading_order(narratives: Sequence[Narrative]) -> list[Narrative]:
    """Put the plainest audience first: stakeholder, then the others by name with expert last."""
    order = {"stakeholder": 0, "expert": 2}
    return sorted(narratives, key=lambda item: (order.get(item.audience, 1), item.audience))


def _narrative(catalogue: Catalogue, narrative: Narrative, root: str) -> dict[str, Any]:
    return {
        "audience": narrative.audience,
        "title": AUDIENCE_WORDS.get(narrative.audience, f"For {narrative.audience}"),
        "author": narrative_author(narrative.author),
        "language": narrative.language,
        "paragraph": Markup(" ").join(link_names(catalogue, item, root) for item in narrative.statements),
        "refusals": narrative.refusals,
    }


def narrative_author(author: str) -> str:
    """Say who wrote a narrative."""
    kind, _, detail = author.partition(":")
    if kind == "generated":
        return "generated from the table, without a language model"
    return f"written by a language model ({detail}); every number filled in from the table" if kind == "llm" else author


def link_names(catalogue: Catalogue, statement: Statement, root: str) -> Markup:
    """Link each cited concept where its placeholder stands in the template; everything else is escaped.

    Looking for names in the text would not do: a class, or another concept, may be called the same.
    """
    cards = [catalogue.card(key) for key in statement.concepts]
    targets = {card.name: root + card.address for card in cards if card.named and card.address}
    pieces: list[Markup] = []
    for piece, is_name in _name_spans(statement):
        name = next((name for name in sorted(targets, key=len, reverse=True) if is_name and name in piece), "")
        before, _, after = piece.partition(name) if name else (piece, "", "")
        pieces.append(escape(before))
        if name:
            pieces.append(Markup('<a href="{}">{}</a>').format(targets.pop(name), name) + escape(after))
    return Markup("").join(pieces)


def _name_spans(statement: Statement) -> list[tuple[str, bool]]:
    """Cut a statement's text into what stands for a concept's name and what does not."""
    parts = re.split(r"(\{\w+(?::[\w.]+)?\})", statement.template)
    pattern = "".join(re.escape(part) if index % 2 == 0 else "(.*?)" for index, part in enumerate(parts))
    found = re.fullmatch(pattern, statement.text, re.DOTALL)
    if not found:
        return [(statement.text, False)]
    filled = [part if index % 2 == 0 else found[index // 2 + 1] for index, part in enumerate(parts)]
    return [(text, part.startswith("{name:")) for text, part in zip(filled, parts, strict=True)]


def _layer(
    catalogue: Catalogue, layer: LayerExplanation, target: TargetExplanation, picture: PictureAddress
) -> dict[str, Any]:
    largest = max((abs(item.share) for item in layer.concepts), default=0.0)
    return {
        "layer": layer,
        "address": catalogue.links.layer(layer.layer) if layer.layer in catalogue.atlas.layers else "",
        "n_channels": len(layer.shares),
        "conserved": layer.relevance_sum / target.logit if target.logit else None,
        "rows": [_row(catalogue, item, largest, picture) for item in layer.concepts],
    }


def _row(catalogue: Catalogue, item: ConceptAttribution, largest: float, picture: PictureAddress) -> dict[str, Any]:
    return {
        "item": item,
        "card": catalogue.card(item.concept),
        "flag": catalogue.flagged.get(item.concept, ""),
        "bar": abs(item.share) / largest if largest else 0.0,
        "picture": picture(item.overlay, item.heatmap),
        "sub_concepts": [(catalogue.card(sub.concept), sub.share) for sub in item.sub_concepts],
    }


def explanations_context(catalogue: Catalogue) -> dict[str, Any]:
    """Gather the index of the explanations."""
    return {"cards": [explanation_card(catalogue, item) for item in catalogue.source.explanations]}


def explanation_card(catalogue: Catalogue, explanation: Explanation) -> dict[str, Any]:
    """Gather one card: photo, best prediction and leading concepts."""
    target = explanation.targets[0] if explanation.targets else None
    layer = target.layers[0] if target and target.layers else None
    best = explanation.predictions[0] if explanation.predictions else None
    return {
        "explanation": explanation,
        "address": catalogue.links.explanation(explanation.id),
        "photo": catalogue.illustrations.photo(explanation),
        "best": best,
        "is_right": bool(best and explanation.label and best.class_name == explanation.label),
        "concepts": [(catalogue.card(item.concept), item.share) for item in layer.concepts[:3]] if layer else [],
    }
