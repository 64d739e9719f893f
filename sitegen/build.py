"""Gather, render, write: one call makes the whole site or leaves the old one as it was.

Owns the order of the work and the temporary folder. Must not know what a page looks like.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from precompute.atlas.ownership import SiteMark, replacing_site
from precompute.errors import ConfigError, nearest_of
from precompute.records import Atlas
from sitegen import links
from sitegen.data.catalogue import Catalogue, find
from sitegen.data.illustrations import Illustrations
from sitegen.data.redaction import only_explanations, redacted
from sitegen.data.shown_samples import shown_samples
from sitegen.data.source import read_source
from sitegen.frames import PageFrame, build_frames
from sitegen.links import Links
from sitegen.pages.page import Page, all_sections
from sitegen.photos import plan_photos
from sitegen.pictures import PictureStore
from sitegen.render import Renderer

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


@dataclass(frozen=True)
class SiteOptions:
    """How a site is made.

    Attributes
    ----------
    title, description : str
        Empty ones are made from the atlas.
    name : str
        Whose site it is: it only replaces a site of the same name. Empty is the atlas's own.
    made_from : str
        Digest of everything that it is made from, noted in its manifest.
    include_images : bool
        False leaves out every pixel of the data set.
    include_crops_only : bool
        True leaves out every whole image of the data set.
    private : bool
        True leaves out the names of files and classes.
    photos : tuple of str
        Explained photos, by file, name or id, whose explanations alone are taken in; none takes all.
    n_gallery : int
        Reference images shown for each ranking.
    only : str
        Shell pattern of addresses: makes these pages alone, to look at one while it is worked on.
    """

    title: str = ""
    description: str = ""
    name: str = ""
    made_from: str = ""
    include_images: bool = True
    include_crops_only: bool = False
    private: bool = False
    photos: tuple[str, ...] = ()
    n_gallery: int = 8
    only: str = ""

    @property
    def left_out(self) -> str:
        """Say what of the data set is not in the site; empty where all of it may be."""
        said = []
        if not self.include_images:
            said.append("without images of the data set")
        elif self.include_crops_only:
            said.append("with parts of the data set’s images only")
        if self.private:
            said.append("numbers stand for file names and labels, and concepts whose names could tell them have none")
        return "; ".join(said)


def build_site(
    output: Path,
    source: Path,
    options: SiteOptions | None = None,
    progress: Progress | None = None,
    finish: Callable[[Path], None] | None = None,
) -> SiteReport:
    """Make the site of one atlas; it appears at `output` whole or not at all.

    Parameters
    ----------
    output : Path
        Root of the site; replaced where it is empty, missing, or the site of this atlas.
    source : Path
        Folder of the atlas: ``atlas.h5`` and what else there is.
    options : SiteOptions, optional
    progress : callable, optional
    finish : callable, optional
        Called with the folder of the finished pages before they take their place; what it raises leaves the old site.

    Raises
    ------
    StoreError
        ``atlas.h5`` is missing or a file is damaged.
    OutputError
        No space, no permission, or `output` holds what the program did not make.
    ConfigError
        No page matches `only`.
    DataError
        One of `photos` is not explained.
    """
    options = options or SiteOptions()
    records = read_source(source)
    if options.photos:
        records = only_explanations(records, [records.position(photo) for photo in options.photos])
    if options.private:
        records = redacted(records)
    name = records.atlas.name
    title = options.title or f"Concept atlas: {name}"
    description = options.description or f"The concepts of a neural network and what they do, from the atlas {name}."
    addresses = Links(records.atlas.layers, (item.id for item in records.explanations))
    with replacing_site(output, SiteMark(options.name or name, options.made_from)) as partial:
        store = PictureStore(
            partial,
            output,
            addresses,
            options.include_images,
            input_size_of(records.atlas),
            options.include_crops_only,
            plan_photos(shown_samples(records.atlas, options.n_gallery), addresses),
        )
        with Illustrations(records, addresses, store, options.n_gallery) as illustrations:
            catalogue = Catalogue(records, addresses, illustrations, title, description)
            maker = _SiteMaker(catalogue, partial, progress or _silent, options.left_out)
            n_pages = maker.make(options.only)
            store.close()
        if finish:
            finish(partial)
    return SiteReport(
        n_pages,
        catalogue.n_concepts,
        len(catalogue.class_indices),
        len(records.explanations),
        (*records.warnings, *illustrations.warnings),
    )


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


class _SiteMaker:
    def __init__(self, catalogue: Catalogue, root: Path, progress: Progress, left_out: str) -> None:
        self._catalogue, self._root, self._progress, self._left_out = catalogue, root, progress, left_out
        self._renderer = Renderer()
        self._sections = [section for section in all_sections() if section.is_there(catalogue)]

    def make(self, only: str) -> int:
        """Write every page, or those whose address `only` matches, and return how many."""
        entries = {section.title: section.address for section in self._sections}
        handwritten = {section.address for section in self._sections if section.handwritten}
        # beside the new site: what a killed run leaves there is swept with it
        frames = build_frames(self._root, self._root.with_name("frames").absolute(), entries, handwritten)
        if not only:
            self._catalogue.illustrations.draw_all(lambda done, total: self._progress("pictures", done, total))
        n_pages, known = 0, list[str]()
        for section in self._sections:
            listed = list(section.pages(self._catalogue))
            known += [page.address for page in listed]
            pages = [page for page in listed if fnmatchcase(page.address, only or "*")]
            if section.address not in {page.address for page in pages}:
                (self._root / section.address).unlink()  # the bare frame, with marks where data should be
            for done, page in enumerate(pages, start=1):
                self._write_page(page, frames[section.address])
                self._progress(section.title.lower(), done, len(pages))
            n_pages += len(pages)
        if not n_pages:
            raise ConfigError(f"no page of this atlas matches {only!r}{nearest_of(only, known, otherwise='the pages')}")
        return n_pages

    def _write_page(self, page: Page, frame: PageFrame) -> None:
        catalogue, is_start = self._catalogue, page.address == links.START
        common = {
            "root": links.root_of(page.address),
            "page": page.address,
            "include_images": catalogue.illustrations.include_images,
        }
        content = self._renderer.fragment(page.template, common | dict(page.context())) if page.template else ""
        text = frame.fill(
            title=page.title if is_start else f"{page.title} · {catalogue.title}",
            topic=page.title,
            site=catalogue.title,
            description=catalogue.description if is_start else f"{page.title}. {catalogue.description}",
            content=content,
            footer=f"{catalogue.atlas.name} · concept names are hypotheses, numbers are measured"
            + (f" · {self._left_out}" if self._left_out else ""),
        )
        for address, written in {page.address: text, **page.data()}.items():
            target = self._root / address
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(written, encoding="utf-8")


def input_size_of(atlas: Atlas) -> tuple[int, int]:
    """Return height and width of the model's input in pixels, as the config in the provenance says; else 0."""
    preprocessing = find(atlas.provenance, "preprocessing", default={})
    crop = preprocessing.get("crop", 0) if isinstance(preprocessing, dict) else 0
    match crop:
        case int():
            return crop, crop
        case [int() as height, int() as width]:
            return height, width
        case _:
            return 0, 0
