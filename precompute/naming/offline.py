"""Names without a language model, from the evidence at hand.

Owns how places, colours, shapes, textures and labels of the reference images become a `ConceptName`. A name says what
was measured on the pictures, and of the labels no more than in which photos most of it was found: a class is never
given as if it were what the channel sees. Must not know predictions, relevance shares or language models.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from precompute.images.places import place_words
from precompute.printing import numbers
from precompute.records import Author, ConceptName, LocalName, Reference
from precompute.records.values import NameKind

from .appearance import Appearance, measure
from .label_words import Agreement, LabelWords, display_name
from .namer import NO_REFERENCES, ConceptEvidence
from .rules import MAX_NAME
from .traits import Trait, find_colour, find_mark, find_place, find_texture

AUTHOR = str(Author("offline"))
LANGUAGE = "en"
UNCLEAR_CONFIDENCE = 0.05
NO_LOOK = "no common look"
MAX_PHRASE = 12
"""Words of a phrase that says what was measured; a name that somebody gives is shorter."""


class Looks(NamedTuple):
    """What a description says, in terms instead of words, so that it can be said in any language.

    Attributes
    ----------
    colours : tuple of str
        Of the eleven colour terms; at most two.
    shape : str
        ``round spot``, ``vertical edges``, ``area`` and so on; empty where the references share no look.
    place : str
        As of `place_words`; empty where it varies.
    mark : str
        The place of a small mark, or `CORNER`; then there is no shape.
    classes : tuple of str
        In whose photos most of it was found, as people read them; empty where that is no more than chance.
    """

    colours: tuple[str, ...] = ()
    shape: str = ""
    place: str = ""
    mark: str = ""
    classes: tuple[str, ...] = ()


class Phrasebook(Protocol):
    """Says in a language other than English what was measured."""

    language: str

    def phrase(self, looks: Looks) -> str:
        """Return the description, in the middle of a sentence."""


class OfflineNamer:
    """Names concepts from labels, places, colours and textures of their reference images.

    Parameters
    ----------
    label_counts : mapping of str to int, optional
        Samples of the data set by class name: what chance would draw. Without it the labels of all the evidence
        handed over stand in for the data set.
    image_size : (int, int), optional
        Height and width of the preprocessed input in pixels; without it the largest reference box stands in.
    date : str
        ISO date put on every name.
    phrasebook : Phrasebook, optional
        Of the language of the texts, where that is not English; then each description is given in it too.
    """

    author = AUTHOR

    def __init__(
        self,
        label_counts: Mapping[str, int] | None = None,
        image_size: tuple[int, int] | None = None,
        date: str = "",
        phrasebook: Phrasebook | None = None,
    ) -> None:
        self._label_counts = label_counts
        self._image_size = image_size
        self._date = date
        self._phrasebook = phrasebook

    def name(self, evidence: Sequence[ConceptEvidence]) -> Iterator[ConceptName]:
        """Name each concept, in order; the same evidence gives the same names.

        A concept without any reference gets a failure instead of a name.
        """
        words = LabelWords(self._label_counts if self._label_counts is not None else _pooled_counts(evidence))
        image_size = self._image_size or _largest_extent(evidence)
        for item in evidence:
            named = _name_concept(item, words, image_size, self._phrasebook)
            yield replace(named, date=self._date, language=LANGUAGE if named.is_named else "")


def _name_concept(
    evidence: ConceptEvidence, words: LabelWords, image_size: tuple[int, int], phrasebook: Phrasebook | None
) -> ConceptName:
    ranking = "RelMax" if evidence.relmax else "ActMax"
    references = evidence.relmax or evidence.actmax
    if not references:
        return ConceptName(evidence.concept.key, "", "", AUTHOR, failure=NO_REFERENCES)
    appearances = [measure(reference, image_size) for reference in references]
    labels, _ = _labels_of(references, evidence.labels)
    first, second = words.groups(labels) if labels else (None, None)
    mark = find_mark(appearances, first.rate if first else 0.0)
    colour, texture = find_colour(appearances), find_texture(appearances)
    check, checked = _check(first, words, evidence.actmax if ranking == "RelMax" else (), evidence.labels)
    found = _Findings(labels, first, second, mark, colour, texture, find_place(appearances))
    named, outliers = _choose(evidence.concept.key, found, appearances, check)
    figures = [
        _source_sentence(references, ranking),
        *_label_sentences(first, second, labels),
        *checked,
        _place_sentence(appearances),
        *(trait.sentence for trait in (mark, colour, texture) if trait),
    ]
    return replace(
        named,
        confidence=round(float(np.clip(named.confidence, UNCLEAR_CONFIDENCE, 0.95)), 3),
        description=_describe(named, appearances, colour, texture),
        common=_common(named, first, colour, texture),
        outliers=tuple(references[position].rank for position in outliers),
        evidence=tuple(figures),
        local_names=_local_names(named.name, found, phrasebook),
    )


class _Findings(NamedTuple):
    labels: Sequence[str]
    first: Agreement | None
    second: Agreement | None
    mark: Trait | None
    colour: Trait | None
    texture: Trait | None
    place: Trait | None


def _choose(
    key: str, found: _Findings, appearances: Sequence[Appearance], check: float
) -> tuple[ConceptName, tuple[int, ...]]:
    """Name by the first that holds: a mark, the looks. Gives the outliers among the references too."""
    if found.mark:
        named = ConceptName(key, found.mark.words, "", AUTHOR, "mark", found.mark.strength)
        return named, found.mark.outliers
    colour, texture = found.colour, found.texture
    words = " ".join([*([colour.words] if colour else []), *([shape] if (shape := _shape(found)) else [])])
    kind: NameKind = "other"
    if words and found.place:
        words = f"{words} {found.place.words}"
    if words:
        kind = "colour" if colour and (not texture or colour.strength >= texture.strength) else "texture"
    # Looks alone never make a sure name: many channels see the same colour.
    strength = 0.6 * max((trait.strength for trait in (colour, texture) if trait), default=0.0)
    strength *= 0.7 + 0.3 * check
    return ConceptName(key, _with_context(words or NO_LOOK, found), "", AUTHOR, kind, strength), (
        colour.outliers if colour else texture.outliers if texture else ()
    )


def _shape(found: _Findings) -> str:
    """Tell the shape: what is as dark or as bright as its colour says anyway is an area."""
    if found.texture is None:
        return "area" if found.colour else ""
    colour = found.colour.terms[-1] if found.colour else ""
    said = {("black", "dark area"), ("white", "bright area")}
    return "area" if (colour, found.texture.words) in said else found.texture.words


def _classes(found: _Findings) -> tuple[str, ...]:
    """Name the class, or the two, of the photos that most of it was found in, where that is more than chance."""
    if found.first is None or (found.first.rate < 0.5 and not found.second):
        return ()
    return tuple(display_name(group.word) for group in (found.first, found.second) if group)


def _with_context(words: str, found: _Findings) -> str:
    """Add the classes of the photos that most of it was found in, where there is room."""
    classes = _classes(found)
    longer = f"{words}, mostly in {' and '.join(classes)} photos"
    return longer if classes and len(longer) <= MAX_NAME and len(longer.split()) <= MAX_PHRASE else words


def _local_names(name: str, found: _Findings, phrasebook: Phrasebook | None) -> tuple[LocalName, ...]:
    """Say in the language of the texts what the English description says, and no more."""
    if phrasebook is None:
        return ()
    if found.mark:
        looks = Looks(mark=found.mark.terms[0])
    else:
        colours, shape = found.colour.terms if found.colour else (), _shape(found)
        place = found.place.terms[0] if shape and found.place else ""
        looks = Looks(colours, shape, place, classes=_classes(found) if ", mostly in " in name else ())
    phrases = (phrasebook.phrase(looks), phrasebook.phrase(looks._replace(classes=())))
    phrase = next((phrase for phrase in phrases if len(phrase) <= MAX_NAME), "")
    return (LocalName(phrasebook.language, phrase),) if phrase else ()


def _check(
    first: Agreement | None, words: LabelWords, others: Sequence[Reference], labels: Mapping[int, str]
) -> tuple[float, tuple[str, ...]]:
    """Look whether the references of the other ranking carry the word too: 0 to 1 above chance, and a sentence."""
    known, _ = _labels_of(others, labels)
    if first is None or not known:
        return 1.0, ()
    agreement = words.agreement(first.word, known)
    sentence = f"ActMax references: {len(agreement.members)} of {agreement.n} are labelled {display_name(first.word)}."
    return min(1.0, agreement.strength / max(first.strength, 1e-9)), (sentence,)


def _labels_of(references: Sequence[Reference], labels: Mapping[int, str]) -> tuple[list[str], list[int]]:
    """Give the known labels and the positions of their references."""
    known = [position for position, reference in enumerate(references) if labels.get(reference.sample_index)]
    return [labels[references[position].sample_index] for position in known], known


def _label_sentences(first: Agreement | None, second: Agreement | None, labels: Sequence[str]) -> list[str]:
    if not labels:
        return ["The reference images have no labels."]
    shown = ", ".join(dict.fromkeys(display_name(label) for label in labels))
    sentences = [f"Labels by rank: {shown}."]
    if first is None:
        return [*sentences, "The labels share no word beyond chance."]
    for agreement in (first, second) if second else (first,):
        sentences.append(
            f"{len(agreement.members)} of {agreement.n} are labelled {display_name(agreement.word)}; "
            f"chance would give {numbers.significant(agreement.chance * agreement.n, 2)}."
        )
    return sentences


def _source_sentence(references: Sequence[Reference], ranking: str) -> str:
    return f"Rests on {len(references)} {ranking} reference {'images' if len(references) > 1 else 'image'}."


def _place_sentence(appearances: Sequence[Appearance]) -> str:
    area = float(np.median([appearance.area for appearance in appearances]))
    centres = [place_words(appearance.row, appearance.column, appearance.area) for appearance in appearances]
    most = max(dict.fromkeys(centres), key=centres.count)
    return (
        f"The crops cover {numbers.percent(area)} of the photo (median); "
        f"{centres.count(most)} of {len(centres)} lie in: {most}."
    )


def _describe(
    named: ConceptName, appearances: Sequence[Appearance], colour: Trait | None, texture: Trait | None
) -> str:
    area = float(np.median([appearance.area for appearance in appearances]))
    looks = " and ".join(trait.words for trait in (colour, texture) if trait) or "neither one colour nor one texture"
    subject = f"{named.name} or {named.second_name}" if named.second_name else named.name
    if named.kind == "other":
        subject = "nothing that labels, colours or textures could tell"
    return (
        f"In common: {subject}. The visible parts cover about {numbers.percent(area)} of the photo; "
        f"in looks they share {looks}. "
        "Derived from labels and pixels, without a language model."
    )


def _common(named: ConceptName, first: Agreement | None, colour: Trait | None, texture: Trait | None) -> str:
    shared = [named.name] if named.kind == "mark" else []
    shared += [f"photos of {display_name(first.word)}"] if first and first.rate >= 0.5 else []
    return ", ".join([*shared, *(trait.words for trait in (colour, texture) if trait)])


def _pooled_counts(evidence: Sequence[ConceptEvidence]) -> Mapping[str, int]:
    """Count every sample once, however many concepts refer to it."""
    samples = {index: label for item in evidence for index, label in item.labels.items()}
    counts: dict[str, int] = {}
    for label in samples.values():
        counts[label] = counts.get(label, 0) + 1
    return counts


def _largest_extent(evidence: Sequence[ConceptEvidence]) -> tuple[int, int]:
    references = [reference for item in evidence for reference in (*item.relmax, *item.actmax)]
    height = max((reference.box.bottom for reference in references), default=1)
    width = max((reference.box.right for reference in references), default=1)
    for full in {reference.full for reference in references[:1]}:
        shown = Image.open(io.BytesIO(full)).size
        height, width = max(height, shown[1]), max(width, shown[0])
    return height, width
