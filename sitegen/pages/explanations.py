"""The explanation pages and their index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from markupsafe import Markup, escape

from precompute.atlas.json_records import to_json
from precompute.records import (
    ConceptAttribution,
    Explanation,
    LayerExplanation,
    Narrative,
    NarrativeTable,
    OwnWords,
    Paragraph,
    Piece,
    TargetExplanation,
)
from precompute.records.named import Author
from sitegen import links
from sitegen.data.catalogue import Catalogue, explained_share_of

from .page import Page, Section
from .trust import what_ifs

AUDIENCE_WORDS = {"stakeholder": "In plain words", "expert": "For experts"}

PictureAddress = Callable[..., str]
"""From the file names of an overlay and of its heatmap, and how strong that is, to the address of what is shown."""


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
        "what_ifs": what_ifs(catalogue, explanation),
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
    def paragraph(item: Paragraph) -> dict[str, Any]:
        statements = Markup(" ").join(print_pieces(catalogue, each.pieces, root) for each in item.statements)
        return {"text": statements, "table": _table(catalogue, item.table, root) if item.table else None}

    return {
        "audience": narrative.audience,
        "title": AUDIENCE_WORDS.get(narrative.audience, f"For {narrative.audience}"),
        "planner": planner_words(narrative.planned_by),
        "by_model": bool(narrative.planned_by),
        "language": narrative.language,
        "headline": print_pieces(catalogue, narrative.headline.pieces, root),
        "paragraphs": [paragraph(item) for item in narrative.paragraphs],
        "added": len(narrative.added),
        "adjusted": narrative.adjusted,
        "refusals": narrative.refusals,
        "own_words": _own_words(catalogue, narrative.own_words, root) if narrative.own_words else None,
    }


def _own_words(catalogue: Catalogue, own: OwnWords, root: str) -> dict[str, Any]:
    """Gather what a model wrote itself: each sentence with the numbers of its facts in the list of facts."""
    numbers = {fact: number for number, item in enumerate(own.facts, start=1) for fact in item.facts}
    return {
        "author": Author.parse(own.author).label,
        "checker": Author.parse(own.checker).label,
        "sentences": [
            {
                "text": print_pieces(catalogue, item.pieces, root),
                "marks": sorted({numbers[fact] for fact in item.facts if fact in numbers}),
            }
            for item in own.statements
        ],
        "facts": [print_pieces(catalogue, item.pieces, root) for item in own.facts],
        "refused": own.refused,
    }


def planner_words(model: str) -> str:
    """Say who chose what is told, and who worded it; `model` is empty for the built-in plan."""
    if model:
        return f"chosen and ordered by a language model ({model}) among facts of the table, worded by the program"
    return "chosen, ordered and worded by the program from the table, without a language model"


def print_pieces(catalogue: Catalogue, pieces: Sequence[Piece], root: str) -> Markup:
    """Print the pieces of a sentence: concepts and classes as links where they have a page, everything escaped."""
    return Markup("").join(_piece(catalogue, piece, root) for piece in pieces)


def _piece(catalogue: Catalogue, piece: Piece, root: str) -> Markup:
    address, language = "", Markup("")
    if piece.kind == "concept":
        if piece.language:
            language = Markup(' lang="{}"').format(piece.language)
        address = catalogue.card(piece.concept).address
    elif piece.kind == "class" and piece.class_index is not None:
        address = catalogue.class_address(piece.class_index)
    if address:
        return Markup('<a href="{}"{}>{}</a>').format(root + address, language, piece.text)
    if language:
        return Markup("<span{}>{}</span>").format(language, piece.text)
    if piece.kind == "number":
        return Markup('<span class="number">{}</span>').format(piece.text)
    return escape(piece.text)


def _table(catalogue: Catalogue, table: NarrativeTable, root: str) -> dict[str, Any]:
    return {
        "caption": print_pieces(catalogue, table.caption, root),
        "header": table.header,
        "rows": [[print_pieces(catalogue, cell, root) for cell in row] for row in table.rows],
    }


def _layer(
    catalogue: Catalogue, layer: LayerExplanation, target: TargetExplanation, picture: PictureAddress
) -> dict[str, Any]:
    largest = max((abs(item.share) for item in layer.concepts), default=0.0)
    return {
        "layer": layer,
        "address": catalogue.links.layer(layer.layer) if layer.layer in catalogue.atlas.layers else "",
        "n_channels": len(layer.shares),
        "conserved": layer.relevance_sum / target.logit if target.logit else None,
        "share_of": explained_share_of(layer),
        "has_sub_concepts": any(item.sub_concepts for item in layer.concepts),
        "rows": [_row(catalogue, item, target, largest, picture) for item in layer.concepts],
    }


def strength_of(target: TargetExplanation, item: ConceptAttribution) -> float:
    """Return how strong a concept's heatmap is beside the strongest of its target, 0 to 1."""
    largest = max((other.heatmap_scale for layer in target.layers for other in layer.concepts), default=0.0)
    return item.heatmap_scale / largest if largest else 1.0


def _row(
    catalogue: Catalogue, item: ConceptAttribution, target: TargetExplanation, largest: float, picture: PictureAddress
) -> dict[str, Any]:
    return {
        "item": item,
        "card": catalogue.card(item.concept),
        "flag": catalogue.flagged.get(item.concept, ""),
        "bar": abs(item.share) / largest if largest else 0.0,
        "picture": picture(item.overlay, item.heatmap, strength_of(target, item)),
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
        "share_of": explained_share_of(layer) if layer else "",
    }
