"""What a search can find, written as a script, since a page opened from a file cannot fetch.

Owns the layout of the index (docs/site-format.md), which words stand for a kind, and the related words of names, so
that a search by meaning needs no model. Must not know how it is searched: that is ``assets/search.js``.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any, get_args

from precompute.records import MISSING, Concept
from precompute.records.values import NameKind
from sitegen.pictures import SpriteSlice
from sitegen.render import script_json

from .catalogue import Catalogue

DESCRIPTION_IN_INDEX = 140
RELATED_IN_INDEX = 18
MIXED, FLAGGED, SILENT = 1, 2, 4
KINDS: tuple[NameKind, ...] = get_args(NameKind)
KIND_WORDS: dict[NameKind, str] = {
    "object": "thing",
    "texture": "pattern surface",
    "colour": "color tint shade",
    "scene": "background place landscape",
    "mark": "watermark logo stamp badge emblem sticker sign text shortcut",
}
"""What else people type who look for a kind; the kind's own name is always found."""
_WORD = re.compile(r"[a-z]+")


@cache
def related_words() -> dict[str, str]:
    """Read the table that ``docs/derive_related_words.py`` made: words that people type for a word, by that word."""
    text = (files("sitegen.data") / "related_words.tsv").read_text(encoding="utf-8")
    return dict(line.split("\t") for line in text.splitlines())


def related_to(word: str) -> str:
    """Return the related words of a word, its plural included; empty where none are known."""
    table = related_words()
    singular = next((form for form in (word, word.removesuffix("s"), word.removesuffix("es")) if form in table), "")
    return " ".join(table[singular].split()[:RELATED_IN_INDEX]) if singular else ""


def search_index(catalogue: Catalogue) -> str:
    """Write the index as a script that sets ``window.atlasIndex``."""
    return f"window.atlasIndex={script_json(index_data(catalogue))};\n"


def index_data(catalogue: Catalogue) -> dict[str, Any]:
    """Gather the index.

    Returns
    -------
    dict
        ``layers``: (name, address of its concepts without the channel) of each layer; ``classes``: (name, address,
        number of samples); ``kinds``; ``kind_words``; ``sheets``: (address, columns, rows); ``concepts``: (layer,
        channel, title, description, kind, marks, class, share, sheet, slot, part), by number in these lists, -1 for
        none; ``photos``: (address, said, file name, label, picture); ``related``: words by word of the titles.
    """
    sheets: dict[tuple[str, int, int], int] = {}
    layers = {layer: number for number, layer in enumerate(catalogue.atlas.layers)}
    classes = {index: number for number, index in enumerate(catalogue.class_indices)}
    concepts = [_concept_row(catalogue, concept, layers, classes, sheets) for concept in catalogue.concepts()]
    words = {word for row in concepts for word in _WORD.findall(row[2].lower())}
    words |= {word for index in classes for word in _WORD.findall(catalogue.class_name(index).lower())}
    return {
        "layers": [
            (layer, catalogue.links.concept(Concept(layer, 0)).removesuffix("0.html"))
            for layer in catalogue.atlas.layers
        ],
        "classes": [
            (catalogue.class_name(index), catalogue.class_address(index), int(catalogue.atlas.class_counts[index]))
            for index in classes
        ],
        "kinds": KINDS,
        "kind_words": KIND_WORDS,
        "sheets": list(sheets),
        "concepts": concepts,
        "photos": [
            (
                catalogue.links.explanation(item.id),
                item.predictions[0].class_name if item.predictions else "",
                item.photo_name,
                item.label,
                catalogue.illustrations.photo(item),
            )
            for item in catalogue.source.explanations
        ],
        "related": {word: near for word in sorted(words) if (near := related_to(word))},
    }


def _concept_row(
    catalogue: Catalogue,
    concept: Concept,
    layers: dict[str, int],
    classes: dict[int, int],
    sheets: dict[tuple[str, int, int], int],
) -> list[Any]:
    name, card, truth = catalogue.name(concept.key), catalogue.card(concept.key), catalogue.truth(concept.key)
    best = catalogue.best_class(concept)
    share = catalogue.mean_of(concept, best) if best != MISSING else 0.0
    is_silent = not catalogue.class_means[concept.layer][:, concept.channel].any()
    marks = MIXED * card.mixed + FLAGGED * (concept.key in catalogue.flagged) + SILENT * is_silent
    return [
        layers[concept.layer],
        concept.channel,
        name.title if name and card.named else "",
        name.description[:DESCRIPTION_IN_INDEX] if name and card.named else "",
        KINDS.index(name.kind) if name and card.named else MISSING,
        marks,
        classes.get(best, MISSING),
        round(share, 3) if catalogue.scores_are_shares else 0,
        *_place(card.thumbnail, sheets),
        truth.part if truth else "",
    ]


def _place(picture: SpriteSlice | None, sheets: dict[tuple[str, int, int], int]) -> tuple[int, int]:
    """Return the number of a picture's sheet, noted in `sheets`, and its slot there."""
    if picture is None:
        return MISSING, 0
    sheet = sheets.setdefault((picture.address, picture.columns, picture.rows), len(sheets))
    return sheet, picture.row * picture.columns + picture.column
