"""Reads an atlas once and makes its reports, each file whole or not at all.

Owns the names of the files, the order of work, and what reports say that they rest on. Must not know what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from precompute.atlas.digests import digest_of, digest_package
from precompute.atlas.files import unreadable
from precompute.atlas.manifest import SHOWN, Manifest
from precompute.atlas.written_files import WrittenFiles, writing_into
from precompute.errors import ConfigError, DataError
from precompute.records.reported import ReportKind
from sitegen.data.catalogue import Catalogue
from sitegen.data.source import AtlasSource, read_source
from sitegen.links import Links, slug
from sitegen.pictures import PictureStore, is_picture

from .album import Pictures
from .audit import audit_report
from .classes import class_index_of, class_report
from .explanation import explanation_report
from .material import Material, Report, ReportOptions
from .model import markdown_of, model_report
from .signing import SUFFIX, Signer
from .typesetting import pdf_of
from .webpage import html_of

Form = Literal["pdf", "html"]
FORMS: tuple[Form, ...] = ("pdf", "html")


@contextmanager
def opened(folder: Path, options: ReportOptions) -> Iterator[Material]:
    """Read the folder of an atlas for its reports; only ``atlas.h5`` must be there.

    Raises
    ------
    StoreError
        ``atlas.h5`` is missing, or a file is damaged.
    """
    source = read_source(folder)
    options = replace(options, made_from=_made_from(source) | options.made_from)
    links = Links(source.atlas.layers, (item.id for item in source.explanations))
    store = PictureStore(folder, folder, links, options.include_images)  # nothing is written by it
    with Pictures(source, links, store, 0) as pictures:
        title = options.title or f"Concept atlas: {source.atlas.name}"
        yield Material(Catalogue(source, links, pictures, title), pictures, options)


_DIGESTS = {"weights": "weights_digest", "data": "dataset_digest", "mining": "mining_digest"}
LOGO_BYTES = 1 << 20


def _made_from(source: AtlasSource) -> dict[str, str]:
    """List what every report of an atlas rests on: digests and versions by name."""
    provenance = source.atlas.provenance
    manifest = Manifest(source.folder)
    products = {Path(name).stem: manifest.digest(Path(name).stem) for name in SHOWN}
    found = {
        "atlas": source.atlas.name,
        "program_code": digest_package("sitegen"),
        **{key: str(provenance.get(name, "")) for key, name in _DIGESTS.items()},
        "config": digest_of(provenance["config"]) if "config" in provenance else "",
        **{f"product:{name}": digest for name, digest in products.items()},
    }
    return {key: value for key, value in found.items() if value}


def read_logo(path: Path) -> bytes:
    """Read a logo.

    Raises
    ------
    ConfigError
        It is no PNG or WebP, or larger than 1 MiB.
    StoreError
        It cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LOGO_BYTES + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    if len(content) > LOGO_BYTES or not is_picture(content):
        raise ConfigError(f"the logo {path} is no PNG or WebP of at most 1 MiB: give one in report.logo")
    return content


def reports(
    material: Material,
    kind: ReportKind,
    subjects: Sequence[str],
    folder: Path,
    forms: Sequence[Form] = FORMS,
    signer: Signer | None = None,
) -> Iterator[list[Path]]:
    """Make the reports of a kind and yield the files of each as they are written.

    Parameters
    ----------
    material : Material
    kind : {"explanation", "class", "audit", "model"}
    subjects : sequence of str
        Of an explanation files, ids or names of explained photos, of a class its name or index; none takes all that
        there are. An audit and a model have none.
    folder : Path
        Made where it is missing.
    forms : sequence of {"pdf", "html"}
    signer : Signer, optional
        Signs every file.

    Raises
    ------
    DataError
        There is no such subject; told before anything is written.
    OutputError
        The folder, or a file of that name in it, is not as this program made it; no space, no permission.
    """
    makers = _makers(material, kind, subjects)
    with writing_into(folder) as written:
        for make in makers:
            yield write_report(make(), written, forms, signer)


def report_of(material: Material, kind: ReportKind, subject: str) -> Report:
    """Make the report of a kind about a subject, as its record names them.

    Raises
    ------
    DataError
        The atlas has no such subject.
    """
    (make,) = _makers(material, kind, [subject] if kind in ("explanation", "class") else [])
    return make()


def _makers(material: Material, kind: ReportKind, subjects: Sequence[str]) -> list[Callable[[], Report]]:
    match kind:
        case "explanation":
            positions = _positions(material.catalogue.source, subjects)
            return [partial(explanation_report, material, position) for position in positions]
        case "class":
            indices = [class_index_of(material, name) for name in subjects] or material.catalogue.class_indices
            return [partial(class_report, material, index) for index in indices]
        case "audit":
            return [partial(audit_report, material)]
        case "model":
            return [partial(model_report, material)]


def write_report(
    report: Report, written: WrittenFiles, forms: Sequence[Form], signer: Signer | None = None
) -> list[Path]:
    """Write a report in each of its forms, and return the files; refused before the first where one may not be."""
    stem = f"{report.document.report}-{slug(report.document.subject)}"
    makers: dict[str, Callable[[Report], bytes]] = {f"{stem}.{form}": RENDERERS[form] for form in forms}
    if report.document.report == "model":  # the card that model hubs read
        makers[f"{stem}.md"] = markdown_of
    for name in makers:
        written.require_free(name)
        written.require_free(name + SUFFIX)
    paths = []
    for name, make in makers.items():
        content = make(report)
        written.remove(name + SUFFIX)  # never a report beside the signature of another
        paths.append(written.write(name, content))
        if signer:
            paths.append(written.write(name + SUFFIX, signer.sign(content)))
    return paths


RENDERERS: dict[Form, Callable[[Report], bytes]] = {"pdf": pdf_of, "html": html_of}


def _positions(source: AtlasSource, photos: Sequence[str]) -> list[int]:
    if not source.explanations:
        raise DataError(f"{source.folder} has no explained photo: run `atlas explain PHOTO` first")
    return [source.position(photo) for photo in photos] or list(range(len(source.explanations)))
