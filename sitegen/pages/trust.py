"""The page that says how far the atlas can be trusted, and what an explanation's page shows of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from precompute.printing.numbers import fixed
from precompute.records import AblationCurve, Concept, Explanation, Family, LayerTrust, OffValue, TrustReport, WhatIf
from precompute.records.trusted import LEAST_SAMPLES, LEAST_SIMILARITY
from sitegen.data.catalogue import Catalogue, ConceptCard

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


LEAST_TOLD, N_FAMILIES = 0.05, 3
"""Share of a family from which it is told, and how many are."""


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
        "least_similarity": LEAST_SIMILARITY,
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


def family_of(catalogue: Catalogue, concept: Concept) -> dict[str, Any] | None:
    """Gather the other members of a concept's family; None where it has none."""
    report = catalogue.source.trust
    for family in report.families if report else ():
        if concept.key in family.concepts:
            others = [catalogue.card(key) for key in family.concepts if key != concept.key]
            return {"cards": others, "size": len(family.concepts), "similarity": family.similarity}
    return None


def class_families(catalogue: Catalogue, class_index: int) -> list[dict[str, Any]]:
    """Gather the families of the deepest layer that carry something of a class, with their mean shares."""
    if not catalogue.scores_are_shares:
        return []
    deepest = next(reversed(catalogue.atlas.layers))
    return _carrying(catalogue, deepest, catalogue.class_means[deepest][class_index].tolist())


def _carrying(catalogue: Catalogue, layer: str, shares: Sequence[float]) -> list[dict[str, Any]]:
    """List the families of a layer whose members' shares add up to enough, the first by absolute share."""
    report = catalogue.source.trust
    families = [family for family in report.families if family.layer == layer] if report else []
    told = [(item, _sum(item, shares)) for item in families]
    told = sorted((pair for pair in told if abs(pair[1]) >= LEAST_TOLD), key=lambda pair: -abs(pair[1]))
    return [
        {"layer": layer, "cards": _members(catalogue, item, shares), "share": share}
        for item, share in told[:N_FAMILIES]
    ]


def _sum(family: Family, shares: Sequence[float]) -> float:
    return sum(shares[Concept.parse(key).channel] for key in family.concepts)


def _members(catalogue: Catalogue, family: Family, shares: Sequence[float]) -> list[ConceptCard]:
    keys = sorted(family.concepts, key=lambda key: -abs(shares[Concept.parse(key).channel]))
    return [catalogue.card(key) for key in keys]


def class_ways(catalogue: Catalogue, class_index: int) -> dict[str, Any]:
    """Gather the prototypes of a class, or how many samples it would need for any."""
    report = catalogue.source.trust
    found = [item for item in report.prototypes if item.class_index == class_index] if report else []
    is_few = bool(report and report.parts.get("prototypes")) and catalogue.scores_are_shares and not found
    return {
        "ways": [
            {
                "layer": item.layer,
                "n_samples": item.n_samples,
                "prototypes": [
                    {
                        "n_samples": part.n_samples,
                        "concepts": [(catalogue.card(known.concept), known.share) for known in part.concepts],
                        "typical": [catalogue.sample_name(index) for index in part.typical],
                    }
                    for part in item.prototypes
                ],
                "outliers": [catalogue.sample_name(index) for index in item.outliers],
            }
            for item in found
        ],
        "too_few": LEAST_SAMPLES if is_few else 0,
    }


def usuals(catalogue: Catalogue, explanation: Explanation) -> dict[tuple[int, str], dict[str, Any]]:
    """Gather how usual an explanation is, and the families behind it, by class and layer."""
    report = catalogue.source.trust
    if report is None:
        return {}
    known = {
        (item.class_index, item.layer): item
        for item in report.usual
        if item.explanation == explanation.id and item.numbers == explanation.digest
    }
    found = {}
    for target in explanation.targets:
        for layer in target.layers:
            item = known.get((target.class_index, layer.layer))
            families = _carrying(catalogue, layer.layer, layer.shares)
            if item or families:
                through = [(catalogue.card(part.concept), part.share) for part in item.through] if item else []
                found[target.class_index, layer.layer] = {"item": item, "families": families, "through": through}
    return found


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
