"""The pictures of one atlas, each drawn when a page first asks for it.

Owns which reference images are shown, which picture of an explanation stands for which, and that nothing is drawn
twice. Must not know pages or how a picture is made.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from precompute.atlas.hdf5 import ReferenceReader
from precompute.records import RANKINGS, Concept, Explanation, Reference
from sitegen.links import Links
from sitegen.pictures import Heat, PictureStore, SpriteSlice, Tile

from .source import AtlasSource


class Illustrations:
    """Pictures of concepts and explanations; a context manager, since it reads ``references.h5``.

    Parameters
    ----------
    source : AtlasSource
    links : Links
    store : PictureStore
    n_gallery : int
        Reference images shown for each ranking.

    Attributes
    ----------
    warnings : list of str
        Pictures that were missing.
    """

    def __init__(self, source: AtlasSource, links: Links, store: PictureStore, n_gallery: int) -> None:
        self._source, self._links, self._store, self._n_gallery = source, links, store, n_gallery
        self._tiles: dict[Concept, tuple[Tile, ...]] = {}
        self._thumbnails: dict[str, list[SpriteSlice | None]] = {}
        self._first: dict[Concept, Reference | None] = {}
        self._copies: dict[tuple[str, str], str] = {}
        self._stack = ExitStack()
        self._reader: ReferenceReader | None = None
        self.warnings: list[str] = []

    def __enter__(self) -> Self:
        if self._source.references is not None:
            self._reader = self._stack.enter_context(ReferenceReader(self._source.references))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def n_gallery(self) -> int:
        """Reference images shown for each ranking."""
        return self._n_gallery

    @property
    def include_images(self) -> bool:
        """Whether pixels of the data set may be shown."""
        return self._store.include_images

    def draw_all(self, progress: Callable[[int, int], None]) -> None:
        """Draw every reference image now, so that it can be told how much of it is done."""
        if self._reader is None:
            return
        concepts = list(self._source.atlas.concepts())
        for done, concept in enumerate(concepts, start=1):
            self.tiles(concept)
            if done == len(concepts) or concepts[done].layer != concept.layer:
                self._layer_thumbnails(concept.layer)
            progress(done, len(concepts))

    def tiles(self, concept: Concept) -> tuple[Tile, ...]:
        """Return the reference images of a concept, by ranking and rank."""
        if concept not in self._tiles:
            references = self._references(concept)
            self._tiles[concept] = self._store.tiles(references)
            self._first[concept] = references[0] if references else None
        return self._tiles[concept]

    def thumbnail(self, concept: Concept) -> SpriteSlice | None:
        """Return the picture that stands for a concept; None where it has none, or its layer was not mined."""
        found = self._layer_thumbnails(concept.layer)
        return found[concept.channel] if concept.channel < len(found) else None

    def is_pictured(self, concept: Concept) -> bool:
        """Whether a concept has a reference image by relevance."""
        return any(tile.ranking == "relmax" for tile in self.tiles(concept))

    def photo(self, explanation: Explanation) -> str:
        """Copy the photo of an explanation and return its address; empty where it is not to be shown."""
        if not self._store.include_whole or not explanation.photo:
            return ""
        return self._copied(explanation, explanation.photo)

    def heat(self, explanation: Explanation, heatmap: str) -> Heat:
        """Return a stored heatmap to lay over its photo, and what its full colour stands for."""
        path = self._path(explanation, heatmap)
        return self._store.heat(path) if path else Heat("", 1.0)

    def _references(self, concept: Concept) -> list[Reference]:
        if self._reader is None:
            return []
        return [item for ranking in RANKINGS for item in self._reader.read(concept, ranking)[: self._n_gallery]]

    def _layer_thumbnails(self, layer: str) -> list[SpriteSlice | None]:
        if layer not in self._thumbnails:
            tables = self._source.atlas.layers.get(layer)
            channels = range(tables.info.n_channels) if tables and self._reader else ()
            self._thumbnails[layer] = self._store.thumbnails([self._best(Concept(layer, c)) for c in channels])
        return self._thumbnails[layer]

    def _best(self, concept: Concept) -> Reference | None:
        """Return the first reference image, which is kept from drawing the tiles until it is asked for here."""
        if concept in self._first:
            return self._first.pop(concept)
        references = self._references(concept)
        return references[0] if references else None

    def _copied(self, explanation: Explanation, name: str) -> str:
        key = (explanation.id, name)
        if key not in self._copies:
            path, address = self._path(explanation, name), self._links.picture(explanation.id, name)
            is_there = path is not None and self._store.copy(path, address)
            self._copies[key] = address if is_there else ""
            if not is_there:
                self.warnings.append(f"explanations/{explanation.id}: the picture {name!r} is missing")
        return self._copies[key]

    def _path(self, explanation: Explanation, name: str) -> Path | None:
        """Find a picture of an explanation; a name that leads out of its folder is not one."""
        if not name or name in {".", ".."} or "/" in name or "\\" in name or not name.isprintable():
            return None
        return self._source.pictures_of(explanation) / name
