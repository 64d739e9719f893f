"""The page of the audit for shortcuts: what was found in the whole atlas, the most serious first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from precompute.printing.numbers import count, percent, significant
from precompute.records import Audit, ShortcutFinding
from sitegen.data.catalogue import Catalogue

from .page import Page, Section

ADDRESS = "audit.html"


def audit_pages(catalogue: Catalogue) -> Iterator[Page]:
    """List the one page."""
    yield Page(ADDRESS, "Audit for shortcuts", "audit.html.j2", lambda: audit_context(catalogue))


def _has_audit(catalogue: Catalogue) -> bool:
    return catalogue.source.trust is not None and catalogue.source.trust.audit is not None


SECTIONS = (Section("Audit", ADDRESS, 39, audit_pages, is_there=_has_audit),)


def audit_context(catalogue: Catalogue) -> dict[str, Any]:
    """Gather the page."""
    audit = catalogue.source.trust.audit if catalogue.source.trust else None
    if audit is None:
        raise ValueError("the atlas has no audit")
    rows = [_row(catalogue, item) for item in audit.findings]
    return {
        "audit": audit,
        "sight": sight(audit),
        "found": [row for row in rows if row["item"].is_finding],
        "cleared": [row for row in rows if not row["item"].is_finding],
    }


def _row(catalogue: Catalogue, item: ShortcutFinding) -> dict[str, Any]:
    class_name = catalogue.class_name(item.class_index)
    return {
        "item": item,
        "measured": measured(item, class_name),
        "card": catalogue.card(item.concept),
        "class_name": class_name,
        "class_address": catalogue.class_address(item.class_index),
        "samples": [catalogue.sample_name(index) for index in item.samples],
    }


def measured(item: ShortcutFinding, class_name: str) -> list[str]:
    """Say what was measured of a candidate, but for the samples that have it: a sentence or two for each point."""
    said = [
        f"Its place is {significant(item.distance, 2)} neurons from the class’s other concepts in the same image; "
        f"these are {significant(item.others_distance, 2)} from each other. By chance: "
        f"p = {significant(item.p_apart, 2)}.",
        f"Switched off, the probability of {class_name} falls by {percent(item.fall_with)} points on samples with it, "
        f"and by {percent(item.fall_without)} points on those without. A difference of 10 points more than chance: "
        f"p = {significant(item.p_fall, 2)}.",
    ]
    if item.n_looked_with:
        n_without = len(item.samples) - item.n_looked_with
        said.append(
            f"Of the {count(item.n_looked_with)} looked at that have it, {count(item.right_with)} are taken for "
            f"{class_name}, and {count(item.right_with_off)} with it off; of the {count(n_without)} without, "
            f"{count(item.right_without)}, and {count(item.right_without_off)} with it off."
        )
    return [*said, f"Rate of false alarms among findings as sure as this: q = {significant(item.q, 2)}."]


def sight(audit: Audit) -> tuple[str, str]:
    """Say what the audit looks for, by the thresholds of `precompute.trust.shortcuts`, and what it misses."""
    verb = "is the layer" if len(audit.layers) == 1 else "are the layers"
    return (
        f"Looked at {verb} {', '.join(audit.layers)}. A candidate is a concept that has a share of at least 5 % in "
        "some samples of a class (at least 4, with a mean of at least 10 %) and not in others (at least 2). It is "
        "warned of where all three hold against chance, at a rate of false alarms of at most 10 %: it is bound to "
        "the class; it lies farther from the class’s other concepts than these from each other; and without it the "
        "class’s probability falls by at least 10 points more where it is than where it is not. Chance is permuted "
        "labels; q is corrected for all candidates (Benjamini–Hochberg). What a concept is called does not count.",
        "So it misses: what all samples of a class have or next to none; what lies on the object; what has no "
        "place of its own, as a tint of the whole image; and what costs less than that. That nothing is found does not "
        "mean that nothing is there.",
    )


def warned(catalogue: Catalogue, class_index: int) -> list[ShortcutFinding] | None:
    """List what the audit warns of for a class; None where there was no audit."""
    audit = catalogue.source.trust.audit if catalogue.source.trust else None
    if audit is None:
        return None
    return [item for item in audit.findings if item.is_finding and item.class_index == class_index]
