"""The page of the audit for shortcuts: what was found in the whole atlas, the most serious first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from precompute.records import ShortcutFinding
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
        "found": [row for row in rows if row["item"].is_finding],
        "cleared": [row for row in rows if not row["item"].is_finding],
    }


def _row(catalogue: Catalogue, item: ShortcutFinding) -> dict[str, Any]:
    return {
        "item": item,
        "card": catalogue.card(item.concept),
        "class_name": catalogue.class_name(item.class_index),
        "class_address": catalogue.class_address(item.class_index),
        "samples": [catalogue.sample_name(index) for index in item.samples],
    }


def warned(catalogue: Catalogue, class_index: int) -> list[ShortcutFinding] | None:
    """List what the audit warns of for a class; None where there was no audit."""
    audit = catalogue.source.trust.audit if catalogue.source.trust else None
    if audit is None:
        return None
    return [item for item in audit.findings if item.is_finding and item.class_index == class_index]
