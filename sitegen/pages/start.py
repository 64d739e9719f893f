"""The start page: what the atlas is, one photo read by the network, where to begin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from precompute.records import MISSING, ConceptName, Explanation, ShortcutTruth
from precompute.records.reliability import measured_band
from sitegen import links
from sitegen.data.catalogue import Catalogue

from .audit import warned
from .concepts import sample_cards
from .explanations import explanation_card, leading_heats
from .page import Page, Section

N_WRONG_SHOWN = 6
SURE_NAMES = 0.9
"""Rate of right names, measured on the built-in world, from which names are counted as sure."""


def start_pages(catalogue: Catalogue) -> Iterator[Page]:
    """List the start page, which is called as the site is, and the page for addresses without one."""
    yield Page(links.START, catalogue.title, "start.html.j2", lambda: start_context(catalogue))
    yield Page(links.MISSING_PAGE, "No such page", "missing.html.j2")


SECTIONS = (Section("Start", links.START, 0, start_pages),)


def start_context(catalogue: Catalogue) -> dict[str, Any]:
    """Gather the start page."""
    explanations = catalogue.source.explanations
    last = next(reversed(catalogue.atlas.layers), "")
    cards = [explanation_card(catalogue, item) for item in explanations]
    wrong = [card for card in cards if card["is_wrong"]]
    example = choose_example(catalogue)
    findings = _findings(catalogue)
    return {
        "title": catalogue.title,
        "description": catalogue.description,
        "example": explanation_card(catalogue, explanations[example]) if explanations else None,
        "heats": leading_heats(catalogue, explanations[example]) if explanations else {},
        "wrong": wrong[:N_WRONG_SHOWN],
        "explanations": [*wrong, *(card for card in cards if not card["is_wrong"])][:4],
        "n_wrong_explained": len(wrong),
        "findings": findings,
        "has_findings": findings["shortcuts"] is not None
        or bool(findings["n_labelled"] or findings["n_tested"] or findings["sure"]),
        "concepts": sample_cards(catalogue, last, 8) if last else [],
        "classes": [catalogue.class_name(index) for index in catalogue.class_indices[:6]],
        "figures": _figures(catalogue),
        "authors": catalogue.authors,
        "named_by_model": names_by_language_model(catalogue),
        "planned_by_model": planned_by_language_model(catalogue),
        "recorded": _recorded(catalogue),
        "has_truth": catalogue.source.truth is not None,
        "shortcut": _start_shortcut(catalogue),
        "catalogue": catalogue,
        "n_pictured": sum(catalogue.illustrations.is_pictured(concept) for concept in catalogue.concepts()),
        "n_named": sum(1 for key in catalogue.source.names if catalogue.card(key).named),
        "doors": (links.EXPLANATIONS, links.CONCEPTS, links.CLASSES),
    }


def _findings(catalogue: Catalogue) -> dict[str, Any]:
    """Gather what was found, each part None where it was not looked for: what the start page begins with."""
    samples, trust = catalogue.atlas.samples, catalogue.source.trust
    labelled = (samples.label != MISSING) & (samples.prediction != MISSING)
    tested = [item for item in trust.photos if item.random_low is not None] if trust else []
    bands = [measured_band(name) for name in catalogue.source.names.values()]
    sure = [band for band in bands if band is not None and band.rate >= SURE_NAMES]
    return {
        "shortcuts": None
        if trust is None or trust.audit is None
        else [
            {
                "class_name": catalogue.class_name(item.class_index),
                "class_address": catalogue.class_address(item.class_index),
                "card": catalogue.card(item.concept),
                "fall": item.fall_with,
            }
            for index in catalogue.class_indices
            for item in warned(catalogue, index) or ()
        ],
        "n_labelled": int(labelled.sum()),
        "n_wrong": int((labelled & (samples.label != samples.prediction)).sum()),
        "n_tested": len(tested),
        "n_telling": sum(item.after < (item.random_low or 0.0) for item in tested),
        "n_sure": len(sure),
        "sure": min(sure, key=lambda band: band.rate) if sure else None,
    }


def _start_shortcut(catalogue: Catalogue) -> dict[str, Any] | None:
    """Gather the box of the planted shortcut; None where there is none or the network does not use it."""
    shortcut = _used_shortcut(catalogue)
    if shortcut is None:
        return None
    return {
        "note": shortcut.note,
        "class_name": shortcut.class_name,
        "class_address": catalogue.address_of_class(shortcut.class_name),
        "card": catalogue.card(shortcut.concept),
        "mean": shortcut.mean_share,
        "is_share": catalogue.scores_are_shares,
    }


def _used_shortcut(catalogue: Catalogue) -> ShortcutTruth | None:
    shortcut = catalogue.source.truth.shortcut if catalogue.source.truth else None
    return shortcut if shortcut and shortcut.used and shortcut.concept else None


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


def _recorded(catalogue: Catalogue) -> ConceptName | None:
    """Return one of the names that ship with the project; None where there is none."""
    return next((name for name in catalogue.source.names.values() if name.recorded and name.is_named), None)


def names_by_language_model(catalogue: Catalogue) -> bool:
    """Tell whether any name came from a language model."""
    return any(name.by.kind == "llm" for name in catalogue.source.names.values())


def planned_by_language_model(catalogue: Catalogue) -> bool:
    """Tell whether a language model chose and ordered what any narrative tells."""
    return any(
        bool(narrative.planned_by)
        for explanation in catalogue.source.explanations
        for target in explanation.targets
        for narrative in target.narratives
    )
