"""What a page module gives: a place in the navigation, and the pages under it.

Owns the two records that page modules and the build share, and how the modules are found. Must not know any page.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sitegen.data.catalogue import Catalogue


def _no_files() -> dict[str, str]:
    return {}


def _nothing() -> dict[str, Any]:
    return {}


def _always(_: Catalogue) -> bool:
    return True


@dataclass(frozen=True)
class Page:
    """One page, described before it is made: its context and its data are gathered when it is written.

    Attributes
    ----------
    address : str
        From the root of the site, with forward slashes; from `sitegen.links`.
    title : str
        Untrusted until escaped.
    template : str
        In ``sitegen/templates``; empty for a handwritten page, which has no context either.
    context : callable
        Returns the variables of the template.
    data : callable
        Returns what is written beside the page, as text by address.
    """

    address: str
    title: str
    template: str = ""
    context: Callable[[], Mapping[str, Any]] = _nothing
    data: Callable[[], Mapping[str, str]] = _no_files


@dataclass(frozen=True)
class Section:
    """One entry of the navigation and the pages that belong to it.

    Attributes
    ----------
    title : str
        In the navigation.
    address : str
        Of the page that the entry leads to.
    order : int
        Place in the navigation, from left to right.
    pages : callable
        From the catalogue to the pages; they are listed first and made afterwards.
    is_there : callable
        From the catalogue to whether the atlas has what the section is about.
    handwritten : bool
        Its text is a Markdown file in ``templates/handwritten``, which holds no data.
    """

    title: str
    address: str
    order: int
    pages: Callable[[Catalogue], Iterable[Page]]
    is_there: Callable[[Catalogue], bool] = _always
    handwritten: bool = False


def all_sections() -> tuple[Section, ...]:
    """Collect the ``SECTIONS`` of every module of this package that has some, by their order.

    A new page needs no entry anywhere else.
    """
    package = import_module(__package__ or "sitegen.pages")
    modules = (import_module(f"{package.__name__}.{info.name}") for info in pkgutil.iter_modules(package.__path__))
    return tuple(sorted((s for module in modules for s in getattr(module, "SECTIONS", ())), key=lambda s: s.order))
