"""The pages of prose, whose Markdown holds no data: how it works and what it cannot tell."""

from __future__ import annotations

from collections.abc import Iterator

from sitegen import links
from sitegen.data.catalogue import Catalogue

from .page import Page, Section


def _method(_: Catalogue) -> Iterator[Page]:
    yield Page(links.METHOD, "Method")


def _limits(_: Catalogue) -> Iterator[Page]:
    yield Page(links.LIMITS, "Limits")


SECTIONS = (
    Section("Method", links.METHOD, 50, _method, handwritten=True),
    Section("Limits", links.LIMITS, 60, _limits, handwritten=True),
)
