"""Contexts of the start, truth and provenance pages. Pure: records in, dictionaries out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from precompute.atlas.records import Explanation, ShortcutTruth
from sitegen import links
from sitegen.data.catalogue import Catalogue

from .concepts import sample_cards
from .explanations import explanation_card

N_SKIPPED_SHOWN = 200


def start_context(
    catalogue: Catalogue, photos: dict[str, str], overlays: Mapping[str, str], title: str, description: str
) -> dict[str, Any]:
    """Gather the start page.

    Parameters
    ----------
    catalogue : Catalogue
    photos : dict of str to str
        Address of each explanation's photo by id.
    overlays : mapping of str to str
        Address of the picture of each leading concept of the first explanation, by concept key.
    title, description : str
    """
    explanations = catalogue.source.explanations
    last = next(reversed(catalogue.atlas.layers), "")
    cards = [explanation_card(catalogue, item, photos) for item in explanations[:8]]
    example = choose_example(catalogue)
    return {
        "title": title,
        "description": description,
        "example": explanation_card(catalogue, explanations[example], photos) if explanations else None,
        "overlays": overlays,
        "explanations": cards,
        "concepts": sample_cards(catalogue, last, 8) if last else [],
        "classes": [catalogue.class_name(index) for index in catalogue.class_indices[:6]],
        "figures": _figures(catalogue),
        "authors": _authors(catalogue),
        "without_model": not uses_language_model(catalogue),
        "has_truth": catalogue.source.truth is not None,
        "shortcut": _start_shortcut(catalogue),
        "catalogue": catalogue,
        "n_pictured": sum(any(tile.ranking == "relmax" for tile in tiles) for tiles in catalogue.tiles.values()),
        "n_named": sum(1 for key in catalogue.source.names if catalogue.card(key).named),
        "doors": (links.EXPLANATIONS, links.CONCEPTS, links.CLASSES),
    }


def _start_shortcut(catalogue: Catalogue) -> dict[str, Any] | None:
    """Gather the box of the planted shortcut; None where there is none or the network does not use it."""
    shortcut = _used_shortcut(catalogue)
    if shortcut is None:
        return None
    return {
        "note": shortcut.note,
        "class_name": shortcut.class_name,
        "class_address": _class_address(catalogue, shortcut.class_name),
        "card": catalogue.card(shortcut.concept),
        "mean": shortcut.mean_share,
        "is_share": catalogue.scores_are_shares,
    }


def _used_shortcut(catalogue: Catalogue) -> ShortcutTruth | None:
    shortcut = catalogue.source.truth.shortcut if catalogue.source.truth else None
    return shortcut if shortcut and shortcut.used and shortcut.concept else None


def _class_address(catalogue: Catalogue, class_name: str) -> str:
    names = list(catalogue.atlas.class_names)
    return catalogue.class_address(names.index(class_name)) if class_name in names else ""


def choose_example(catalogue: Catalogue) -> int:
    """Pick the explanation for the start page.

    Where a shortcut is known it is the one that shows it most; else one that is right, sure, and whose leading concept
    is named; the first among equals.
    """

    def merit(position: int) -> tuple[float, bool, bool, float, int]:
        explanation = catalogue.source.explanations[position]
        best = explanation.predictions[0] if explanation.predictions else None
        targets = explanation.targets
        named = (
            bool(targets and targets[0].layers and targets[0].layers[0].concepts)
            and catalogue.card(targets[0].layers[0].concepts[0].concept).named
        )
        right = bool(best and best.class_name == explanation.label)
        shown = _shortcut_share(catalogue, explanation)
        return (shown, named, right, best.probability if best else 0.0, -position)

    return max(range(len(catalogue.source.explanations)), key=merit, default=0)


def _shortcut_share(catalogue: Catalogue, explanation: Explanation) -> float:
    """Share of the planted mark's concept in the table that leads an explanation of its class; 0 where it has none."""
    shortcut, target = _used_shortcut(catalogue), explanation.targets[0] if explanation.targets else None
    if shortcut is None or target is None or not target.layers or target.class_name != shortcut.class_name:
        return 0.0
    concepts = target.layers[0].concepts
    return max((item.share for item in concepts if item.concept == shortcut.concept and item.share > 0), default=0.0)


def _figures(catalogue: Catalogue) -> list[tuple[int, str]]:
    return [
        (len(catalogue.atlas.layers), "layers"),
        (catalogue.n_concepts, "concepts"),
        (catalogue.n_mined, "samples looked at"),
        (len(catalogue.class_indices), "classes"),
        (len(catalogue.source.explanations), "explained photos"),
    ]


def _authors(catalogue: Catalogue) -> list[tuple[str, int]]:
    """Count the names by who gave them, the most first."""
    names = catalogue.source.names
    counted = Counter(name.by.words for key, name in names.items() if catalogue.card(key).named)
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))


def uses_language_model(catalogue: Catalogue) -> bool:
    """Tell whether any name or narrative came from a language model."""
    narratives = (
        narrative
        for explanation in catalogue.source.explanations
        for target in explanation.targets
        for narrative in target.narratives
    )
    return any(name.by.kind in ("llm", "recorded") for name in catalogue.source.names.values()) or any(
        narrative.author.startswith("llm") for narrative in narratives
    )


def truth_context(catalogue: Catalogue) -> dict[str, Any]:
    """Gather the page of truth scores, the deepest layer first."""
    report = catalogue.source.truth
    if report is None:
        raise ValueError("the atlas has no truth scores")
    shortcut = report.shortcut
    return {
        "report": report,
        "layers": [
            (row, catalogue.links.layer(row.layer), catalogue.atlas.layers[row.layer].info.n_channels)
            if row.layer in catalogue.atlas.layers
            else (row, "", 0)
            for row in reversed(report.layers)
        ],
        "parts": _parts(catalogue),
        "scores_are_shares": catalogue.scores_are_shares,
        "shortcut_card": catalogue.card(shortcut.concept) if shortcut and shortcut.concept else None,
        "shortcut_class_address": _class_address(catalogue, shortcut.class_name) if shortcut else "",
    }


def _parts(catalogue: Catalogue) -> list[dict[str, Any]]:
    """List each known part with the concepts that show it most clearly; first those that show no part."""
    report = catalogue.source.truth
    by_part: dict[str, list[tuple[float, str]]] = {}
    for key, truth in report.concepts.items() if report else ():
        if truth.mass is not None:
            by_part.setdefault(truth.part, []).append((truth.mass, key))
    return [
        {
            "part": part,
            "n_concepts": len(found),
            "best": [(catalogue.card(key), mass) for mass, key in sorted(found, key=lambda x: (-x[0], x[1]))[:4]]
            if part
            else [],
        }
        for part, found in sorted(by_part.items())
    ]


def provenance_context(catalogue: Catalogue) -> dict[str, Any]:
    """Gather everything that the outputs depend on, as rows of a table."""
    skipped = sorted(catalogue.atlas.samples.skipped.items())
    return {
        "rows": list(_rows(catalogue.atlas.provenance)),
        "n_samples": len(catalogue.atlas.samples.name),
        "n_mined": catalogue.n_mined,
        "n_skipped": len(skipped),
        "skipped": [(catalogue.sample_name(index), reason) for index, reason in skipped[:N_SKIPPED_SHOWN]],
        "authors": _authors(catalogue),
        "warnings": catalogue.source.warnings,
    }


def _rows(tree: object, path: str = "") -> list[tuple[str, str]]:
    """Flatten nested mappings to dotted keys; lists stay in one cell."""
    if isinstance(tree, dict):
        return [row for key in sorted(tree) for row in _rows(tree[key], f"{path}.{key}" if path else str(key))]
    text = ", ".join(str(item) for item in tree) if isinstance(tree, list) else str(tree)
    return [(path, text or "–")]
