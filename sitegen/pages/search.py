"""The search page, whose index is written beside the concepts."""

from __future__ import annotations

from collections.abc import Iterator

from sitegen import links
from sitegen.data.catalogue import Catalogue

from .page import Page, Section


def search_pages(_: Catalogue) -> Iterator[Page]:
    """List the one page, whose hits a script fills in."""
    yield Page(links.SEARCH, "Search", "search.html.j2")


SECTIONS = (Section("Search", links.SEARCH, 80, search_pages),)
