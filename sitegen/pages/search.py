"""The search page, whose index is written beside the concepts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sitegen import links
from sitegen.data.catalogue import Catalogue
from sitegen.data.search_index import KINDS

from .page import Page, Section


def search_pages(catalogue: Catalogue) -> Iterator[Page]:
    """List the one page, whose hits a script fills in."""
    yield Page(links.SEARCH, "Search", "search.html.j2", lambda: search_context(catalogue))


SECTIONS = (Section("Search", links.SEARCH, 80, search_pages),)


def search_context(catalogue: Catalogue) -> dict[str, Any]:
    """Gather what hits can be narrowed to; values are numbers in the lists of the index."""
    kinds = {name.kind for name in catalogue.source.names.values() if name.is_named}
    return {
        "layers": list(enumerate(catalogue.atlas.layers))[::-1],
        "kinds": [(number, kind) for number, kind in enumerate(KINDS) if kind in kinds],
        "classes": [(number, catalogue.class_name(index)) for number, index in enumerate(catalogue.class_indices)],
    }
