"""One picture of an explanation or a concept, 1200 × 630, for a slide, a chat or a page's preview.

Owns what stands on a card. Must not know how it is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from precompute.atlas.written_files import writing_into
from precompute.errors import DataError
from precompute.printing.numbers import probability, signed_percent, significant
from precompute.records import MISSING, Concept
from sitegen.data.catalogue import Catalogue, explained_share_of
from sitegen.links import slug
from sitegen.pictures import laid_over, strip

from .material import Material
from .typesetting import card_of

CardForm = Literal["png", "svg"]
N_ROWS = 4


@dataclass(frozen=True)
class CardRow:
    """A line with its bar.

    Attributes
    ----------
    name, value : str
    length : float
        Of the bar, 0 to 1.
    positive : bool
    """

    name: str
    value: str
    length: float
    positive: bool = True


@dataclass(frozen=True)
class Card:
    """What stands on a card; its texts are untrusted until they are set as text.

    Attributes
    ----------
    kicker, title, text, footer : str
    rows : tuple of CardRow
    picture : bytes
        WebP; empty for none.
    """

    kicker: str
    title: str
    text: str
    footer: str
    rows: tuple[CardRow, ...] = ()
    picture: bytes = b""


def explanation_card(material: Material, photo: str) -> Card:
    """Say what the network said of a photo, and the concepts with the largest shares.

    Raises
    ------
    DataError
        The photo is not explained.
    """
    catalogue, pictures = material.catalogue, material.pictures
    item = catalogue.source.explanations[catalogue.source.position(photo)]
    target = item.targets[0] if item.targets else None
    best = item.predictions[0] if item.predictions else None
    title = f"The network says {best.class_name}, {probability(best.probability)}" if best else item.photo_name
    label = f"The label is {item.label}." if item.label else ""
    rows: tuple[CardRow, ...] = ()
    picture = pictures.photo_content(item)
    if target and target.layers:
        layer = target.layers[0]
        rows = tuple(
            CardRow(catalogue.card(row.concept).name, signed_percent(row.share), abs(row.share), row.share > 0)
            for row in layer.concepts[:N_ROWS]
        )
        label = f"{label} Shares of {explained_share_of(layer)} for {target.class_name}:".strip()
        heat = pictures.content(item, target.heatmap)
        picture = laid_over(picture, heat) if heat else picture
    return Card(f"Explanation of {item.photo_name}", title, label, _footer(material), rows, picture)


def concept_card(material: Material, key: str) -> Card:
    """Say what a concept is called, by whom, and for which classes it matters most.

    Raises
    ------
    DataError
        There is no such concept.
    """
    catalogue = material.catalogue
    concept = _concept(catalogue, key)
    name = catalogue.name(concept.key)
    card = catalogue.card(concept.key)
    about = name.description if name and name.is_named else "It has no name."
    found = material.pictures.best_references(concept)[:4]
    blobs = [item.crop if material.pictures.include_images else item.heatmap for item in found]
    blobs = [blob for blob in blobs if blob]
    means = [(catalogue.mean_of(concept, index), index) for index in catalogue.class_indices]
    best = catalogue.best_class(concept)
    most = [(mean, index) for mean, index in sorted(means, key=lambda item: (-item[0], item[1])) if mean > 0]
    printed = signed_percent if catalogue.scores_are_shares else significant
    largest = most[0][0] if most and best != MISSING else 1.0
    if most:
        about = f"{about} Mean {'share' if catalogue.scores_are_shares else 'relevance'} by class:"
    rows = tuple(
        CardRow(catalogue.class_name(index), printed(mean), mean / largest) for mean, index in most[: N_ROWS - 1]
    )
    kicker = f"Concept {concept.key}" + (f", {card.author}" if card.named else "")
    picture = strip(blobs[:1], heat=not material.pictures.include_images) if blobs else b""
    return Card(kicker, card.name, about, _footer(material), rows, picture)


def _concept(catalogue: Catalogue, key: str) -> Concept:
    try:
        concept = Concept.parse(key)
    except ValueError as error:
        raise DataError(str(error)) from error
    tables = catalogue.atlas.layers.get(concept.layer)
    if tables is None or concept.channel >= tables.info.n_channels:
        known = ", ".join(f"{layer}:0 to {item.info.n_channels - 1}" for layer, item in catalogue.atlas.layers.items())
        raise DataError(f"no concept {key!r} in {catalogue.source.folder}; there are {known}")
    return concept


def _footer(material: Material) -> str:
    parts = (material.options.title, material.options.date, "names are hypotheses, numbers are measured")
    return " · ".join(part for part in parts if part)


def write_cards(
    material: Material, kind: Literal["explanation", "concept"], subjects: Sequence[str], folder: Path, form: CardForm
) -> list[Path]:
    """Write a card for each subject, whole or not at all, and return the files.

    Raises
    ------
    DataError
        There is no such subject; told before anything is written.
    OutputError
        A file there is not as it was written; no space, no permission.
    """
    make = explanation_card if kind == "explanation" else concept_card
    cards = [(subject, make(material, subject)) for subject in subjects]
    with writing_into(folder) as written:
        return [written.write(f"card-{kind}-{slug(subject)}.{form}", card_of(card, form)) for subject, card in cards]
