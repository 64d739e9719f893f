"""The page that says how far the atlas can be trusted, and what an explanation's page shows of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from precompute.printing.numbers import fixed
from precompute.records import AblationCurve, Explanation, LayerTrust, OffValue, TrustReport, WhatIf
from sitegen.data.catalogue import Catalogue

from .page import Page, Section

ADDRESS = "trust.html"
ORDER_WORDS = {
    "most": "largest share first",
    "activation": "largest activation first",
    "random": "random order",
    "least": "smallest share first",
    "greedy": "best order found",
}
OFF_WORDS: dict[OffValue, str] = {"mean": "its mean over the data set’s sample", "zero": "zero"}
STRONG, SOME = 0.5, 0.2
"""Rank correlations from which shares are said to tell much, and something."""


def trust_pages(catalogue: Catalogue) -> Iterator[Page]:
    """List the one page."""
    yield Page(ADDRESS, "How far to trust this atlas", "trust.html.j2", lambda: trust_context(catalogue))


SECTIONS = (Section("Trust", ADDRESS, 38, trust_pages, is_there=lambda catalogue: catalogue.source.trust is not None),)


def trust_context(catalogue: Catalogue) -> dict[str, Any]:
    """Gather the page, the deepest layer first."""
    report = catalogue.source.trust
    if report is None:
        raise ValueError("the atlas has no trust report")
    tested = [item for item in report.photos if item.random_mean is not None]
    return {
        "report": report,
        "off_words": OFF_WORDS[report.off],
        "layers": [_layer(catalogue, report, layer) for layer in reversed(report.layers)],
        "n_photos": len(tested),
        "n_below": sum(item.after < (item.random_low or 0.0) for item in tested),
    }


def _layer(catalogue: Catalogue, report: TrustReport, layer: LayerTrust) -> dict[str, Any]:
    classes = sorted(layer.classes, key=lambda item: item.random - item.most)
    return {
        "layer": layer,
        "address": catalogue.links.layer(layer.layer) if layer.layer in catalogue.atlas.layers else "",
        "verdict": verdict(layer),
        "chart": _chart(report, layer),
        "curves": [(ORDER_WORDS[curve.order], curve) for curve in layer.curves],
        "classes": [
            (catalogue.class_name(item.class_index), catalogue.class_address(item.class_index), item)
            for item in classes
        ],
    }


def verdict(layer: LayerTrust) -> str:
    """Say in words how much the shares of a layer tell; twice the standard error has to lie above 0."""
    rho, error = layer.correlation, layer.correlation_error
    is_sure = layer.between > 2 * layer.between_error and rho is not None and rho > 2 * (error or 0.0)
    if rho is None or not is_sure:
        return "Shares do not tell which channels matter here"
    if rho >= STRONG:
        return "Shares tell well which channels matter"
    return "Shares tell in part which channels matter" if rho >= SOME else "Shares tell little of which channels matter"


def what_ifs(catalogue: Catalogue, explanation: Explanation) -> dict[tuple[int, str], dict[str, Any]]:
    """Gather what was measured of one explanation, by class and layer; only of the numbers that it shows."""
    report = catalogue.source.trust
    if report is None:
        return {}
    return {
        (item.class_index, item.layer): _what_if(catalogue, report, item)
        for item in report.photos
        if item.explanation == explanation.id and item.numbers == explanation.digest
    }


def _what_if(catalogue: Catalogue, report: TrustReport, item: WhatIf) -> dict[str, Any]:
    alone = [(catalogue.card(key), value) for key, value in zip(item.concepts, item.alone, strict=True)]
    random = item.random_mean
    return {
        "item": item,
        "off_words": OFF_WORDS[report.off],
        "other_words": OFF_WORDS["zero" if report.off == "mean" else "mean"],
        "alone": alone,
        "tells": random is not None and item.after < (item.random_low or 0.0),
    }


WIDTH, HEIGHT = 320, 160


def _chart(report: TrustReport, layer: LayerTrust) -> Markup:
    """Draw the curves; the table below has the same figures."""
    counts = report.counts[: max((len(curve.left) for curve in layer.curves), default=0)]
    if len(counts) < 2:
        return Markup("")
    top = max(1.0, *(value for curve in layer.curves for value in curve.left))
    label = f"What is left of the probability in {layer.layer}: " + "; ".join(
        f"{ORDER_WORDS[curve.order]}, mean {fixed(curve.area)}" for curve in layer.curves
    )
    lines = Markup("").join(
        Markup('<polyline class="curve {}" points="{}"/>').format(curve.order, _points(curve, counts, top))
        for curve in layer.curves
    )
    return Markup('<svg class="curves" viewBox="-4 -4 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH + 8, HEIGHT + 8, label, lines
    )


def _points(curve: AblationCurve, counts: tuple[int, ...], top: float) -> str:
    pairs = zip(counts, curve.left, strict=False)
    return " ".join(f"{WIDTH * count / counts[-1]:.1f},{HEIGHT * (1 - value / top):.1f}" for count, value in pairs)
