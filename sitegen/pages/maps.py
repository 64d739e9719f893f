"""The map of all concepts, and the comparison of two things: pages whose scripts draw what lies beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sitegen import links
from sitegen.data.catalogue import Catalogue
from sitegen.data.comparing import compare_script, map_script

from .page import Page, Section
from .search import search_context


def map_pages(catalogue: Catalogue) -> Iterator[Page]:
    """List the map."""
    yield Page(
        links.MAP,
        "Map of concepts",
        "map.html.j2",
        lambda: map_context(catalogue),
        lambda: {links.MAP_DATA: map_script(catalogue)},
    )


def compare_pages(catalogue: Catalogue) -> Iterator[Page]:
    """List the comparison."""
    yield Page(
        links.COMPARE,
        "Compare",
        "compare.html.j2",
        lambda: {"classes": _classes(catalogue)},
        lambda: {links.COMPARE_DATA: compare_script(catalogue)},
    )


SECTIONS = (Section("Map", links.MAP, 32, map_pages), Section("Compare", links.COMPARE, 34, compare_pages))


def map_context(catalogue: Catalogue) -> dict[str, Any]:
    """Gather what the map can be narrowed to, and the layers for readers without scripts."""
    n_silent = sum(int((~means.any(axis=0)).sum()) for means in catalogue.class_means.values())
    return search_context(catalogue) | {
        "n_silent": n_silent,
        "galleries": [(layer, catalogue.links.layer(layer)) for layer in reversed(catalogue.atlas.layers)],
    }


def _classes(catalogue: Catalogue) -> list[tuple[str, str]]:
    return [(catalogue.class_name(index), catalogue.class_address(index)) for index in catalogue.class_indices]
