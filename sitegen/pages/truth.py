"""The page of truth scores: how well names and heatmaps do where the right answer is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sitegen import links
from sitegen.data.catalogue import Catalogue

from .page import Page, Section


def truth_pages(catalogue: Catalogue) -> Iterator[Page]:
    """List the one page."""
    yield Page(links.TRUTH, "Truth", "truth.html.j2", lambda: truth_context(catalogue))


SECTIONS = (
    Section("Truth", links.TRUTH, 40, truth_pages, is_there=lambda catalogue: catalogue.source.truth is not None),
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
        "shortcut_class_address": catalogue.address_of_class(shortcut.class_name) if shortcut else "",
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
