"""Gather, render, write: one call makes the whole site or leaves the old one as it was.

Owns the order of the work and the temporary folder. Must not know what a page looks like.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from precompute.atlas.hdf5 import ReferenceReader
from precompute.atlas.json_records import to_json
from precompute.atlas.ownership import replacing_site
from precompute.atlas.records import RANKINGS, Atlas, Concept, Explanation, Reference
from sitegen import links
from sitegen.data import downloads
from sitegen.data.catalogue import Catalogue, find
from sitegen.data.source import AtlasSource, read_source
from sitegen.links import Links
from sitegen.pages import classes as class_pages
from sitegen.pages import concepts as concept_pages
from sitegen.pages import explanations as explanation_pages
from sitegen.pages import overviews as overview_pages
from sitegen.pictures import Cut, PictureStore, Tile
from sitegen.render import Renderer
from sitegen.shell import HANDWRITTEN, Shell, build_shells

Progress = Callable[[str, int, int], None]
"""Called with the stage, how much of it is done and how much there is."""


@dataclass(frozen=True)
class SiteReport:
    """What was made.

    Attributes
    ----------
    n_pages, n_concepts, n_classes, n_explanations : int
    warnings : tuple of str
        What was missing, for the user.
    """

    n_pages: int
    n_concepts: int
    n_classes: int
    n_explanations: int
    warnings: tuple[str, ...] = ()


def build_site(
    output: Path,
    source: Path,
    *,
    title: str,
    description: str,
    name: str = "",
    include_images: bool = True,
    n_gallery: int = 8,
    progress: Progress | None = None,
) -> SiteReport:
    """Make the site of one atlas; it appears at `output` whole or not at all.

    Parameters
    ----------
    output : Path
        Root of the site; replaced where it is empty, missing, or the site of this atlas.
    source : Path
        Folder of the atlas: ``atlas.h5`` and what else there is.
    title, description : str
        Empty ones are made from the atlas.
    name : str
        Whose site it is: it only replaces a site of the same name. Empty is the atlas's own.
    include_images : bool
        False leaves out every pixel of the data set.
    n_gallery : int
        Reference images shown for each ranking.
    progress : callable, optional

    Raises
    ------
    StoreError
        ``atlas.h5`` is missing or a file is damaged.
    OutputError
        No space, no permission, or `output` holds what the program did not make.
    """
    records = read_source(source)
    title = title or f"Concept atlas: {records.atlas.name}"
    description = (
        description or f"The concepts of a neural network and what they do, from the atlas {records.atlas.name}."
    )
    with replacing_site(output, name or records.atlas.name) as partial:
        maker = _SiteMaker(records, partial, output, include_images, n_gallery, progress or _silent)
        return maker.make(title, description)


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


@dataclass
class _SiteMaker:
    records: AtlasSource
    root: Path
    previous: Path
    include_images: bool
    n_gallery: int
    progress: Progress
    warnings: list[str] = field(default_factory=list)
    n_pages: int = 0

    def make(self, title: str, description: str) -> SiteReport:
        self.title, self.description = title, description
        atlas = self.records.atlas
        self.links = Links(atlas.layers, (item.id for item in self.records.explanations))
        with tempfile.TemporaryDirectory(prefix="atlas-shell-") as workspace:
            self.shells = build_shells(self.root, Path(workspace), with_truth=self.records.truth is not None)
        self.renderer = Renderer()
        self.pictures = PictureStore(self.root, self.previous, self.links, self.include_images, input_side_of(atlas))
        tiles, thumbnails = self._draw_references()
        self.catalogue = Catalogue(self.records, self.links, tiles, thumbnails)
        self._write_explanations()
        self._write_concepts()
        self._write_classes()
        self._write_overviews()
        return SiteReport(
            self.n_pages,
            self.catalogue.n_concepts,
            len(self.catalogue.class_indices),
            len(self.records.explanations),
            (*self.records.warnings, *self.warnings),
        )

    # --- pictures -----------------------------------------------------------------------------------------------

    def _draw_references(self) -> tuple[dict[str, tuple[Tile, ...]], dict[str, Cut]]:
        tiles: dict[str, tuple[Tile, ...]] = {}
        thumbnails: dict[str, Cut] = {}
        if self.records.references is None:
            return tiles, thumbnails
        with ReferenceReader(self.records.references) as reader:
            layers = self.records.atlas.layers
            total, done = sum(tables.info.n_channels for tables in layers.values()), 0
            for layer, tables in layers.items():
                best: list[Reference | None] = []
                for channel in range(tables.info.n_channels):
                    references = self._references(reader, Concept(layer, channel))
                    tiles[f"{layer}:{channel}"] = self.pictures.tiles(references)
                    best.append(references[0] if references else None)
                    done += 1
                    self.progress("pictures", done, total)
                for channel, cut in enumerate(self.pictures.thumbnails(best)):
                    if cut:
                        thumbnails[f"{layer}:{channel}"] = cut
        return tiles, thumbnails

    def _references(self, reader: ReferenceReader, concept: Concept) -> list[Reference]:
        return [reference for ranking in RANKINGS for reference in reader.read(concept, ranking)[: self.n_gallery]]

    def _photo(self, explanation: Explanation) -> str:
        """Copy the photo of an explanation and return its address; empty where it is not to be shown."""
        if not self.include_images or not explanation.photo:
            return ""
        return self._copied(explanation, explanation.photo)

    def _picture(self, explanation: Explanation, overlay: str, heatmap: str) -> str:
        """Return the address of the overlay, or of the heatmap in plain colours where no photo may be shown."""
        if self.include_images and overlay:
            return self._copied(explanation, overlay)
        path = self._picture_path(explanation, heatmap)
        return self.pictures.coloured_heatmap(path) if path else ""

    def _copied(self, explanation: Explanation, name: str) -> str:
        path, address = self._picture_path(explanation, name), self.links.picture(explanation.id, name)
        if path and ((self.root / address).exists() or self.pictures.copy(path, address)):
            return address
        self.warnings.append(f"explanations/{explanation.id}: the picture {name!r} is missing")
        return ""

    def _picture_path(self, explanation: Explanation, name: str) -> Path | None:
        """Find a picture of an explanation; a name that leads out of its folder is not one."""
        if not name or name in {".", ".."} or "/" in name or "\\" in name or not name.isprintable():
            return None
        return self.records.folder / "explanations" / explanation.id / name

    # --- pages --------------------------------------------------------------------------------------------------

    def _write(self, page: str, section: str, template: str, context: dict[str, Any], title: str) -> None:
        content = self.renderer.fragment(
            template, {"root": links.root_of(page), "page": page, "include_images": self.include_images, **context}
        )
        self._fill(page, self.shells[section], title, content)

    def _fill(self, page: str, shell: Shell, title: str, content: str) -> None:
        is_start = page == links.START
        text = shell.fill(
            title=title if is_start else f"{title} · {self.title}",
            topic=title,
            site=self.title,
            description=self.description if is_start else f"{title}. {self.description}",
            content=content,
            footer=f"{self.records.atlas.name} · concept names are hypotheses, numbers are measured",
        )
        target = self.root / page
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        self.n_pages += 1

    def _write_data(self, address: str, text: str) -> None:
        target = self.root / address
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def _write_explanations(self) -> None:
        explanations = self.records.explanations
        self.photos = {item.id: self._photo(item) for item in explanations}
        for position, item in enumerate(explanations):
            page = self.links.explanation(item.id)
            context = explanation_pages.explanation_context(
                self.catalogue,
                position,
                lambda overlay, heatmap, item=item: self._picture(item, overlay, heatmap),  # type: ignore[misc]
                self.photos[item.id],
            )
            best = item.predictions[0].class_name if item.predictions else item.photo_name
            self._write(page, links.EXPLANATIONS, "explanation.html.j2", context, f"{best}: {item.photo_name}")
            self._write_data(links.json_of(page), to_json(item, indent=1) + "\n")
            self.progress("explanations", position + 1, len(explanations))
        context = explanation_pages.explanations_context(self.catalogue, self.photos)
        self._write(links.EXPLANATIONS, links.EXPLANATIONS, "explanations.html.j2", context, "Explanations")

    def _write_concepts(self) -> None:
        catalogue = self.catalogue
        for done, concept in enumerate(catalogue.concepts(), start=1):
            page = self.links.concept(concept)
            context = concept_pages.concept_context(catalogue, concept)
            title = f"{catalogue.card(concept.key).name} ({concept.layer} · {concept.channel})"
            self._write(page, links.CONCEPTS, "concept.html.j2", context, title)
            self._write_data(links.json_of(page), downloads.to_json(downloads.concept_data(catalogue, concept)))
            self.progress("concepts", done, catalogue.n_concepts)
        for layer in catalogue.atlas.layers:
            context = concept_pages.layer_context(catalogue, layer)
            self._write(self.links.layer(layer), links.CONCEPTS, "layer.html.j2", context, f"Layer {layer}")
        context = concept_pages.layers_context(catalogue)
        self._write(links.CONCEPTS, links.CONCEPTS, "layers.html.j2", context, "Concepts")
        self._write_data(links.CONCEPTS_CSV, downloads.concepts_csv(catalogue))
        self._write_data(links.SEARCH_INDEX, downloads.search_index(catalogue))

    def _write_classes(self) -> None:
        catalogue = self.catalogue
        explained = class_pages.explained_classes(catalogue)
        for done, index in enumerate(catalogue.class_indices, start=1):
            page = self.links.class_page(index)
            context = class_pages.class_context(catalogue, index, explained, self.photos)
            self._write(page, links.CLASSES, "class.html.j2", context, catalogue.class_name(index))
            self._write_data(links.json_of(page), downloads.to_json(downloads.class_data(catalogue, index)))
            self.progress("classes", done, len(catalogue.class_indices))
        context = class_pages.classes_context(catalogue, explained)
        self._write(links.CLASSES, links.CLASSES, "classes.html.j2", context, "Classes")

    def _write_overviews(self) -> None:
        catalogue = self.catalogue
        context = overview_pages.start_context(
            catalogue, self.photos, self._leading_pictures(), self.title, self.description
        )
        self._write(links.START, links.START, "start.html.j2", context, self.title)
        self._write(links.SEARCH, links.SEARCH, "search.html.j2", {}, "Search")
        if self.records.truth is not None:
            self._write(links.TRUTH, links.TRUTH, "truth.html.j2", overview_pages.truth_context(catalogue), "Truth")
        context = overview_pages.provenance_context(catalogue)
        self._write(links.PROVENANCE, links.PROVENANCE, "provenance.html.j2", context, "Provenance")
        for page in HANDWRITTEN:
            self._fill(page, self.shells[page], page.removesuffix(".html").capitalize(), "")

    def _leading_pictures(self) -> dict[str, str]:
        """Return the pictures of the concepts of the start page's example, by concept key."""
        explanations = self.records.explanations
        if not explanations:
            return {}
        example = explanations[overview_pages.choose_example(self.catalogue)]
        layers = example.targets[0].layers if example.targets else ()
        concepts = layers[0].concepts if layers else ()
        return {item.concept: self._picture(example, item.overlay, item.heatmap) for item in concepts}


def input_side_of(atlas: Atlas) -> int:
    """Return the side of the model's input in pixels as the config in the provenance says; 0 where it does not."""
    preprocessing = find(atlas.provenance, "preprocessing", default={})
    side = preprocessing.get("crop", 0) if isinstance(preprocessing, dict) else 0
    return int(side) if isinstance(side, int | float) else 0
