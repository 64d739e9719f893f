"""What the reports of all kinds have in common: the facts and the logo on the cover, and the finished document.

Owns that every report says what it is about, who answers for it, when it was made and what it rests on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from precompute.printing.numbers import count
from precompute.records import Concept
from precompute.records.reported import Block, Cover, Document, Figure, Line, ReportKind
from sitegen.data.catalogue import ConceptCard
from sitegen.pictures import strip

from .album import Album
from .material import Material, Report
from .sections import SHORT_DIGEST, line

PART = 1 / 6.2
"""Width of one picture in a row of six, the space between them left out."""


def facts(material: Material, *own: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """List what stands on every cover; `own` are those of the report, told first."""
    options = material.options
    known = (
        *own,
        ("Atlas", options.title or material.catalogue.title),
        ("Network", f"weights {options.made_from.get('weights', '–')[:SHORT_DIGEST]}…"),
        ("Author", options.author),
        ("Date", options.date),
    )
    return tuple((label, value) for label, value in known if value)


def logo_key(material: Material, album: Album) -> str:
    """Keep the logo and return its key; empty where there is none."""
    logo = material.options.logo
    return album.add(logo, "png" if logo.startswith(b"\x89PNG") else "webp") if logo else ""


class About(NamedTuple):
    """What a report is about: its kind, its subject within that, its title, and what stands behind it on each page."""

    kind: ReportKind
    subject: str
    title: str
    named: str = ""


def finished(
    material: Material,
    album: Album,
    about: About,
    *,
    cover: Cover,
    blocks: Iterable[Block],
    own: dict[str, str] | None = None,
) -> Report:
    """Put a report together; `own` is what it rests on besides what all reports of the atlas do."""
    options = material.options
    told = tuple(blocks)  # they fill the album
    document = Document(
        report=about.kind,
        subject=about.subject,
        title=about.title,
        running=f"{about.title} · {about.named}" if about.named else about.title,
        author=options.author,
        language="en",
        date=options.date,
        paper=options.paper,
        cover=cover,
        blocks=told,
        pictures=album.files(),
        made_from=options.made_from | (own or {}),
    )
    return Report(document, album.contents())


def reference_strip(
    material: Material, album: Album, card: ConceptCard, caption: Line = (), *, n_shown: int = 6, width: float = 0.0
) -> Figure | None:
    """Show the reference images of a concept side by side, or their heatmaps where no pixel may be shown."""
    pictures = material.pictures
    shows_heat = not pictures.include_images
    references = pictures.best_references(Concept.parse(card.key))[:n_shown]
    found = [(item, item.heatmap if shows_heat else item.crop) for item in references]
    found = [(item, blob) for item, blob in found if blob]
    if not found:
        return None
    samples = ", ".join(material.catalogue.sample_label(item.sample_index) for item, _ in found)
    kind = "heatmaps" if shows_heat else "images"
    said = f"{count(len(found))} reference {kind} of {card.name}, of {samples}"
    key = album.add(strip([blob for _, blob in found], heat=shows_heat), "webp")
    return Figure(key, said, caption or line("Strongest first"), width or len(found) * PART * 1.04)
