"""The page of provenance: everything that the outputs depend on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from precompute.atlas.json_records import parse
from precompute.records import ConservationProof
from sitegen import links
from sitegen.data.catalogue import Catalogue

from .page import Page, Section

N_SKIPPED_SHOWN = 200
SHOWN = (
    *("config", "counts", "dataset_digest", "date", "device", "engine", "mining_digest", "mining_version", "packages"),
    *("precision", "seed", "weights_digest"),
)
"""Keys of the provenance that the page shows; what else a file may hold stays there."""


def provenance_pages(catalogue: Catalogue) -> Iterator[Page]:
    """List the one page."""
    yield Page(links.PROVENANCE, "Provenance", "provenance.html.j2", lambda: provenance_context(catalogue))


SECTIONS = (Section("Provenance", links.PROVENANCE, 70, provenance_pages),)


def provenance_context(catalogue: Catalogue) -> dict[str, Any]:
    """Gather everything that the outputs depend on, as rows of a table."""
    skipped = sorted(catalogue.atlas.samples.skipped.items())
    return {
        "rows": _rows({key: item for key, item in catalogue.atlas.provenance.items() if key in SHOWN}),
        "rules": catalogue.rules_told,
        "proof": _proof(catalogue),
        "n_samples": len(catalogue.atlas.samples.name),
        "n_mined": catalogue.n_mined,
        "n_skipped": len(skipped),
        "skipped": [(catalogue.sample_name(index), reason) for index, reason in skipped[:N_SKIPPED_SHOWN]],
        "authors": catalogue.authors,
        "warnings": catalogue.source.warnings,
    }


def _proof(catalogue: Catalogue) -> dict[str, Any]:
    """Gather what was proved of the network while it was mined; values are None where the file does not say them."""
    known = catalogue.atlas.provenance
    compared, off = known.get("logits_compared"), known.get("logits_off")
    is_told = isinstance(compared, int) and compared > 0 and isinstance(off, int | float)
    found = parse(known.get("conservation"), ConservationProof)
    order = {layer: place for place, layer in enumerate(catalogue.atlas.layers)}
    parts = found.parts() if found else {}
    return {
        "compared": compared if is_told else None,
        "off": off if is_told else None,
        "conservation": found,
        "worst": found.worst if found and found.operations else None,
        "layers": sorted(parts.items(), key=lambda item: order.get(item[0], len(order))),
    }


def _rows(tree: object, path: str = "") -> list[tuple[str, str]]:
    """Flatten nested mappings to dotted keys; lists stay in one cell."""
    if isinstance(tree, dict):
        return [row for key in sorted(tree) for row in _rows(tree[key], f"{path}.{key}" if path else str(key))]
    text = ", ".join(str(item) for item in tree) if isinstance(tree, list) else str(tree)
    return [(path, text or "–")]
