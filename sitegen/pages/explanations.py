"""The explanation pages and their index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from unicodedata import bidirectional

from markupsafe import Markup, escape

from precompute.atlas.json_records import to_json
from precompute.records import (
    Concept,
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
from sitegen.pictures import Heat, opacity_of

from .audit import ADDRESS as AUDIT
from .audit import warned
from .page import Page, Section
from .paths import paths_context
from .trust import usuals, what_ifs

SPOT = 14
"""Side of the number of an outline with the gap to the next, in the unit of its drawing."""
SPOTS = 13
"""Numbers that fit side by side across a photo, however many pixels that has: each is large enough to tap."""
N_CONTRASTED = 6
LEAST_CONTRASTED = 0.005
"""Smallest absolute share, for one of two classes, of a concept that their contrast shows."""

AUDIENCE_WORDS = {"stakeholder": "In plain words", "expert": "For experts"}

PictureAddress = Callable[[str], Heat]
"""From the file name of a heatmap to what is shown of it."""


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
    picture = partial(catalogue.illustrations.heat, explanation)
    page = catalogue.links.explanation(explanation.id)
    best = explanation.predictions[0] if explanation.predictions else None
    side = min(explanation.width, explanation.height)
    targets = [_target(catalogue, target, picture, links.root_of(page), side) for target in explanation.targets]
    _put_on_axis([row for target in targets for row in target["reasons"]])
    return {
        "best": best,
        "check": _check(catalogue, explanation, targets),
        "is_right": bool(best and best.class_name == explanation.label),
        "contrast": _contrast(catalogue, explanation.targets),
        "explanation": explanation,
        "photo": catalogue.illustrations.photo(explanation),
        "predictions": _predictions(catalogue, explanation),
        "targets": targets,
        "what_ifs": what_ifs(catalogue, explanation),
        "usuals": usuals(catalogue, explanation),
        "catalogue": catalogue,
        "previous": explanations[position - 1] if position else None,
        "following": explanations[position + 1] if position + 1 < len(explanations) else None,
    }


def _check(catalogue: Catalogue, explanation: Explanation, targets: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Say what to be careful of, around the link of a concept; None where of nothing.

    What the audit found for the class counts, whatever the concept is called. A leading concept whose name says that it
    is a mark is told as that, with what the audit says.
    """
    rows = targets[0]["reasons"] if targets else []
    if not rows:
        return None
    target = explanation.targets[0]
    findings = warned(catalogue, target.class_index)
    found = {item.concept for item in findings or ()}
    first = rows[0]
    row = next((row for row in rows if row["card"].key in found and row["share"] > 0), None)
    if row is not None:
        before = "the concept that counts most, " if row is first else "a concept that counts, "
        after = f", may be a shortcut: the audit found that {target.class_name} leans on it where it is"
        return {"before": before, "card": row["card"], "after": after, "evidence": AUDIT}
    if not first["flag"]:
        return None
    flag = "is named as a mark, no part of the object" if first["flag"].startswith("named") else first["flag"]
    said = "" if findings is None else f"; the audit found no evidence that {target.class_name} leans on it"
    return {
        "before": "the concept that counts most, ",
        "card": first["card"],
        "after": f", {flag}{said}",
        "evidence": "" if findings is None else AUDIT,
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


def _target(
    catalogue: Catalogue, target: TargetExplanation, picture: PictureAddress, root: str, side: int
) -> dict[str, Any]:
    shown = [item for layer in target.layers for item in layer.concepts]
    strongest = max((item.heatmap_scale * picture(item.heatmap).full for item in shown), default=0.0)
    return {
        "target": target,
        "address": catalogue.class_address(target.class_index),
        "picture": picture(target.heatmap).address,
        "accuracy": next((fact.numbers for fact in target.facts if fact.kind == "accuracy"), None),
        "reasons": _reasons(catalogue, target),
        "spots": _spots(target, side),
        "paths": paths_context(catalogue, target),
        "narratives": [_narrative(catalogue, item, root) for item in in_reading_order(target.narratives)],
        "layers": [_layer(catalogue, layer, target, picture, strongest) for layer in target.layers],
    }


def _reasons(catalogue: Catalogue, target: TargetExplanation) -> list[dict[str, Any]]:
    """List the concepts of the main layer with what is usual for the class; `_put_on_axis` adds their bars."""
    rows = target.layers[0].concepts if target.layers else ()
    return [
        {
            "number": number,
            "card": catalogue.card(item.concept),
            "flag": catalogue.flagged.get(item.concept, ""),
            "share": item.share,
            "place": item.place.words,
            "usual": usual_share(catalogue, Concept.parse(item.concept), target.class_index),
        }
        for number, item in enumerate(rows, start=1)
    ]


def usual_share(catalogue: Catalogue, concept: Concept, class_index: int) -> float | None:
    """Return a concept's mean share over the samples of a class; None where no such shares were mined."""
    means = catalogue.class_means.get(concept.layer)
    if means is None or catalogue.atlas.scores == "raw" or not 0 <= class_index < len(means):
        return None
    if catalogue.atlas.scores == "layer" and catalogue.atlas.layers[concept.layer].info.beside:
        return None  # shares of an explanation are of all that crosses the network there
    is_there = concept.channel < means.shape[1] and catalogue.atlas.class_counts[class_index] > 0
    return float(means[class_index, concept.channel]) if is_there else None


def _put_on_axis(rows: Sequence[dict[str, Any]]) -> None:
    """Give each row its bar on the one axis of the page: fractions of the axis's length, from the left."""
    values = [value for row in rows for value in (row["share"], row["usual"]) if value is not None]
    low, high = min([0.0, *values]), max([0.0, *values])
    length = (high - low) or 1.0
    for row in rows:
        row["zero"] = -low / length
        row["start"] = (min(row["share"], 0.0) - low) / length
        row["length"] = abs(row["share"]) / length
        row["usual_at"] = None if row["usual"] is None else (row["usual"] - low) / length


def _spots(target: TargetExplanation, side: int) -> list[dict[str, Any]]:
    """Place the numbered outlines on a photo of so many pixels; numbers that would cover another move to the right."""
    scale = side / (SPOTS * SPOT)
    step = SPOT * scale
    concepts = target.layers[0].concepts if target.layers else ()
    spots: list[dict[str, Any]] = []
    taken: list[tuple[float, float]] = []
    for number, item in enumerate(concepts, start=1):
        box = item.place.box
        x, y = float(box.left), float(box.top)
        while any(abs(x - other_x) < step and abs(y - other_y) < step for other_x, other_y in taken):
            x += step
        taken.append((x, y))
        spots.append(
            {
                "number": number,
                "box": box,
                "width": box.right - box.left,
                "height": box.bottom - box.top,
                "x": x,
                "y": y,
                "move": f"translate({x:.4g} {y:.4g}) scale({scale:.4g})",
                "words": item.place.words,
                "card": item.concept,
            }
        )
    return spots


def _contrast(catalogue: Catalogue, targets: Sequence[TargetExplanation]) -> dict[str, Any] | None:
    """Compare the shares of the first two classes in their main layer, what differs most first."""
    if len(targets) < 2 or not all(target.layers for target in targets[:2]):
        return None
    first, second = (target.layers[0] for target in targets[:2])
    if first.layer != second.layer or len(first.shares) != len(second.shares):
        return None
    pairs = sorted(enumerate(zip(first.shares, second.shares, strict=True)), key=lambda x: (-abs(x[1][0] - x[1][1]), x))
    shown = [(channel, pair) for channel, pair in pairs if max(map(abs, pair)) >= LEAST_CONTRASTED][:N_CONTRASTED]
    rows: list[dict[str, Any]] = [
        {
            "card": catalogue.card(Concept(first.layer, channel).key),
            "sides": [{"share": s, "usual": None} for s in pair],
        }
        for channel, pair in shown
    ]
    _put_on_axis([side for row in rows for side in row["sides"]])
    return {"classes": [target.class_name for target in targets[:2]], "rows": rows} if rows else None


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
    # A name that is read from right to left would pull the number behind it to its other side.
    address, attributes = "", Markup(' dir="rtl"') if _runs_right_to_left(piece) else Markup("")
    if piece.kind == "concept":
        if piece.language:
            attributes += Markup(' lang="{}"').format(piece.language)
        address = catalogue.card(piece.concept).address
    elif piece.kind == "class" and piece.class_index is not None:
        address = catalogue.class_address(piece.class_index)
    if address:
        return Markup('<a href="{}"{}>{}</a>').format(root + address, attributes, piece.text)
    if attributes:
        return Markup("<span{}>{}</span>").format(attributes, piece.text)
    if piece.kind == "number":
        return Markup('<span class="number">{}</span>').format(piece.text)
    return escape(piece.text)


def _runs_right_to_left(piece: Piece) -> bool:
    return piece.kind in ("concept", "class") and any(bidirectional(letter) in ("R", "AL") for letter in piece.text)


def _table(catalogue: Catalogue, table: NarrativeTable, root: str) -> dict[str, Any]:
    return {
        "caption": print_pieces(catalogue, table.caption, root),
        "header": table.header,
        "rows": [[print_pieces(catalogue, cell, root) for cell in row] for row in table.rows],
    }


def _layer(
    catalogue: Catalogue,
    layer: LayerExplanation,
    target: TargetExplanation,
    picture: PictureAddress,
    strongest: float,
) -> dict[str, Any]:
    largest = max((abs(item.share) for item in layer.concepts), default=0.0)
    return {
        "layer": layer,
        "address": catalogue.links.layer(layer.layer) if layer.layer in catalogue.atlas.layers else "",
        "n_channels": len(layer.shares),
        "conserved": layer.relevance_sum / target.logit if target.logit else None,
        "share_of": explained_share_of(layer),
        "has_sub_concepts": any(item.sub_concepts for item in layer.concepts),
        "rows": [_row(catalogue, item, largest, picture(item.heatmap), strongest) for item in layer.concepts],
    }


def _row(
    catalogue: Catalogue, item: ConceptAttribution, largest: float, heat: Heat, strongest: float
) -> dict[str, Any]:
    strength = min(1.0, item.heatmap_scale * heat.full / strongest) if strongest else 1.0
    return {
        "item": item,
        "card": catalogue.card(item.concept),
        "flag": catalogue.flagged.get(item.concept, ""),
        "bar": abs(item.share) / largest if largest else 0.0,
        "picture": heat.address,
        "opacity": f"{opacity_of(strength):.3f}",
        "sub_concepts": [(catalogue.card(sub.concept), sub.share) for sub in item.sub_concepts],
    }


def leading_heats(catalogue: Catalogue, explanation: Explanation) -> dict[str, dict[str, str]]:
    """Return the heatmaps of an explanation's first concepts, as its page lays them over the photo, by key."""
    target = explanation.targets[0] if explanation.targets else None
    if target is None or not target.layers:
        return {}
    side = min(explanation.width, explanation.height)
    entry = _target(catalogue, target, partial(catalogue.illustrations.heat, explanation), "", side)
    rows = entry["layers"][0]["rows"]
    return {row["item"].concept: {key: row[key] for key in ("picture", "opacity")} for row in rows if row["picture"]}


def explanations_context(catalogue: Catalogue) -> dict[str, Any]:
    """Gather the index of the explanations, what the network got wrong first."""
    cards = [explanation_card(catalogue, item) for item in catalogue.source.explanations]
    wrong = [card for card in cards if card["is_wrong"]]
    return {"wrong": wrong, "cards": [card for card in cards if not card["is_wrong"]]}


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
        "is_wrong": bool(best and explanation.label and best.class_name != explanation.label),
        "concepts": [(catalogue.card(item.concept), item.share) for item in layer.concepts[:3]] if layer else [],
        "share_of": explained_share_of(layer) if layer else "",
    }
