"""The only maker of slugs and addresses of the site.

Owns where each page lies. Slugs come from layers, channels and class indices, never from names that people or models
wrote. Must not know what is on a page. All addresses are relative to the root of the site, with forward slashes;
a page reaches it through `root_of`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from precompute.records import Concept

START = "index.html"
EXPLANATIONS = "explanations/index.html"
CONCEPTS = "concepts/index.html"
CLASSES = "classes/index.html"
SEARCH = "search.html"
TRUTH = "truth.html"
METHOD = "method.html"
LIMITS = "limits.html"
PROVENANCE = "provenance.html"
CONCEPTS_CSV = "concepts.csv"
SEARCH_INDEX = "assets/search-index.js"
MISSING_PAGE = "404.html"
MAP = "map.html"
COMPARE = "compare.html"
MAP_DATA = "assets/map-data.js"
COMPARE_DATA = "assets/compare-data.js"
SEARCH_SCRIPTS = (
    "assets/vendor/minisearch.js",
    "assets/vendor/stemmer.js",
    SEARCH_INDEX,
    "assets/search.js",
    "assets/finding.js",
)
MAP_SCRIPTS = (SEARCH_INDEX, "assets/search.js", "assets/finding.js", MAP_DATA, "assets/map.js")
COMPARE_SCRIPTS = (SEARCH_INDEX, "assets/search.js", "assets/finding.js", COMPARE_DATA, "assets/compare.js")


def slug(text: str) -> str:
    """Reduce text to lower-case letters, digits and hyphens; never empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def root_of(page: str) -> str:
    """Lead from a page back to the root of the site: empty, or one ``../`` for each folder."""
    return "../" * page.count("/")


def json_of(page: str) -> str:
    """Address of the data behind a page."""
    return page.removesuffix(".html") + ".json"


class Links:
    """Addresses of the pages of one atlas.

    Parameters
    ----------
    layers : iterable of str
        All layer names; names that would share a slug get a number, in this order.
    explanation_ids : iterable of str
    """

    def __init__(self, layers: Iterable[str], explanation_ids: Iterable[str] = ()) -> None:
        self._layers = _unique_slugs(layers)
        self._explanations = _unique_slugs(explanation_ids)

    def layer(self, layer: str) -> str:
        """Address of a layer's gallery; the underscore keeps it apart from every concept."""
        return f"concepts/layer_{self._layers[layer]}.html"

    def concept(self, concept: Concept) -> str:
        """Address of a concept's page."""
        return f"concepts/{self._layers[concept.layer]}-c{concept.channel}.html"

    def class_page(self, class_index: int) -> str:
        """Address of a class's page."""
        return f"classes/class-{class_index}.html"

    def samples(self, class_index: int) -> str:
        """Address of the page of the samples of a class; of those of no class where it is negative."""
        return f"classes/samples-{class_index}.html" if class_index >= 0 else "classes/samples-no-class.html"

    def explanation(self, explanation_id: str) -> str:
        """Address of an explanation's page."""
        return f"explanations/{self._explanations[explanation_id]}.html"

    def picture(self, explanation_id: str, file_name: str) -> str:
        """Address of a picture of an explanation."""
        return f"explanations/{self._explanations[explanation_id]}/{quote(file_name, safe='')}"

    def sheet(self, digest: str) -> str:
        """Address of a sheet of tiles."""
        return f"sheets/{digest}.webp"

    def photo(self, digest: str) -> str:
        """Address of one whole reference image."""
        return f"photos/{digest}.webp"

    def photos(self, class_index: int | None, number: int) -> str:
        """Address of a file of many whole reference images of a class; of no class where it is None."""
        return f"photos/{'no-class' if class_index is None else f'class-{class_index}'}-{number}.svg"


def _unique_slugs(names: Iterable[str]) -> dict[str, str]:
    slugs: dict[str, str] = {}
    for name in names:
        base = candidate = "start" if slug(name) == "index" else slug(name)
        number = 2
        while candidate in slugs.values():
            candidate = f"{base}-{number}"
            number += 1
        slugs[name] = candidate
    return slugs
