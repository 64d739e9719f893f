"""An atlas without the names of its data: file names and labels give way to numbers before anything is made of them.

Owns what of an atlas may name the data set, and what stands there instead. What is made of a redacted source, pages,
tables, index or reports, cannot say what the source does not hold. Must not know pages or how pictures are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from precompute.records import (
    Atlas,
    ConceptName,
    Explanation,
    Narrative,
    NarrativeTable,
    Paragraph,
    Piece,
    Statement,
    TargetExplanation,
    TrustReport,
)

from .source import AtlasSource

WITHHELD = "it is not published, since it may say what the data set calls its images"
"""Why a concept has no name, as its page says it."""
_PROVENANCE = (
    *("conservation", "counts", "date", "device", "engine", "logits_compared", "logits_off", "mining_version"),
    *("packages", "precision", "seed", "weights_digest"),
)
"""What of the provenance is kept: nothing that names the data, its files or their digest, from which it could be
told by whoever has it."""
_CONFIG = ("explaining", "mining", "preprocessing", "relevance", "seed")
_VOCABULARY = frozenset(
    {
        *("EpsilonPlusFlat", "EpsilonPlus", "label", "prediction", "sum", "max", "cut", "layer", "cpu", "cuda", "auto"),
        *("float64", "float32", "tf32", "bf16", "bilinear", "bicubic", "nearest"),
    }
)
"""Texts of the config that are kept: what is said in them is chosen from a list of the program's."""
_WORD = re.compile(r"[^\W_]+")
_ENDINGS = (("ies", "y"), ("es", ""), ("s", ""))


@dataclass(frozen=True)
class _Names:
    """What stands for what.

    Attributes
    ----------
    classes, photos, ids : dict of str to str
        Class names, file names and ids of explanations, to what is published.
    words : frozenset of str
        Every word of the names of classes and files, in small letters, with and without the ending of a plural.
    concepts : frozenset of str
        Keys of the concepts whose names are published.
    """

    classes: dict[str, str]
    photos: dict[str, str]
    ids: dict[str, str]
    words: frozenset[str]
    concepts: frozenset[str] = frozenset()

    def says_one(self, text: str) -> bool:
        """Tell whether a text shares a word with the data; where words are not parted by blanks, a part of one."""
        if not self.words.isdisjoint(_words(text)):
            return True
        return not text.isascii() and any(not word.isascii() and word in text.casefold() for word in self.words)

    def class_in(self, text: str) -> str:
        """Return what stands for the class that a text names."""
        said = [name for name in self.classes if name.partition(",")[0].casefold() in text.casefold()]
        return self.classes[max(said, key=len)] if said else "a class"


def redacted(source: AtlasSource) -> AtlasSource:
    """Return a source that holds no file name and no label.

    Classes and samples go by their places in the lists of the data set, explanations of other photos by theirs in the
    atlas. Names of concepts are left out where they were given offline, from the labels, or share a word with a class
    or a file; sentences that a language model wrote, its raw replies, the parts that a data set knows of its images
    and the provenance of the data are left out whole.
    """
    names = _names_of(source)
    concepts = {key: _name(item, names) for key, item in source.names.items()}
    names = replace(names, concepts=frozenset(key for key, item in concepts.items() if item.is_named))
    known = {new: source.picture_ids.get(old, old) for old, new in names.ids.items()}
    return replace(
        source,
        atlas=_atlas(source.atlas),
        names=concepts,
        scores={key: item for key, item in source.scores.items() if key in concepts and concepts[key].is_named},
        explanations=tuple(_explanation(item, names) for item in source.explanations),
        truth=None,
        trust=_trust(source.trust, names) if source.trust else None,
        picture_ids=known,
    )


def class_id(class_index: int) -> str:
    """Return what stands for a class."""
    return f"class {class_index}"


def sample_id(sample_index: int) -> str:
    """Return what stands for a sample's file name."""
    return f"sample-{sample_index:06}"


def _names_of(source: AtlasSource) -> _Names:
    atlas = source.atlas
    photos = {name: sample_id(index) for index, name in enumerate(atlas.samples.name)}
    ids = {item.id: f"photo-{number:04}" for number, item in enumerate(source.explanations, start=1)}
    for item in source.explanations:
        photos.setdefault(item.photo_name, ids[item.id])
    classes = {name: class_id(index) for index, name in enumerate(atlas.class_names)}
    told = {text for item in source.explanations for text in (item.label, *_classes_of(item))}
    classes |= {text: "another class" for text in told if text and text not in classes}
    words = {word for text in (*classes, *photos) for word in _words(text)}
    return _Names(classes, photos, ids, frozenset(words))


def _classes_of(explanation: Explanation) -> Iterable[str]:
    yield from (item.class_name for item in explanation.predictions)
    yield from (item.class_name for item in explanation.targets)


def _words(text: str) -> set[str]:
    """Return the words of a text, each with and without the ending of a plural."""
    found = set(_WORD.findall(text.casefold()))
    return found | {
        word.removesuffix(ending) + one
        for word in found
        for ending, one in _ENDINGS
        if word.endswith(ending) and len(word) > len(ending) + 2
    }


def _atlas(atlas: Atlas) -> Atlas:
    samples = replace(
        atlas.samples,
        name=tuple(sample_id(index) for index in range(len(atlas.samples.name))),
        skipped=dict.fromkeys(atlas.samples.skipped, "the reason is not published"),
    )
    return replace(
        atlas,
        class_names=tuple(class_id(index) for index in range(len(atlas.class_names))),
        samples=samples,
        provenance=_provenance(atlas.provenance),
    )


def _provenance(provenance: dict[str, Any]) -> dict[str, Any]:
    kept = {key: item for key, item in provenance.items() if key in _PROVENANCE}
    config = provenance.get("config")
    if isinstance(config, dict):
        kept["config"] = {key: _known(item) for key, item in config.items() if key in _CONFIG}
    return kept


def _known(tree: Any) -> Any:  # noqa: ANN401 - any JSON
    """Keep numbers, flags and texts of the vocabulary; of any other text it is not known what it says."""
    if isinstance(tree, dict):
        return {key: _known(item) for key, item in tree.items() if _is_known(item)}
    if isinstance(tree, list):
        return [_known(item) for item in tree if _is_known(item)]
    return tree


def _is_known(item: object) -> bool:
    return not isinstance(item, str) or item in _VOCABULARY


def _name(name: ConceptName, names: _Names) -> ConceptName:
    """Keep a name that shares no word with the data set; of what stands beside it, what shares none."""
    if not name.is_named:
        return replace(_bare(name), name="", failure=WITHHELD if name.failure else "")
    if name.by.kind in ("offline", "program") or any(map(names.says_one, name.all_names())):
        return replace(_bare(name), name="", second_name="", local_names=(), failure=WITHHELD)
    description = "" if names.says_one(name.description) else name.description
    return replace(_bare(name), description=description)


def _bare(name: ConceptName) -> ConceptName:
    return replace(
        name, description="", common="", evidence=(), raw_reply="", row_digest="", prompt_digest="", outliers=()
    )


def _explanation(item: Explanation, names: _Names) -> Explanation:
    return replace(
        item,
        id=names.ids[item.id],
        photo_name=names.photos[item.photo_name],
        photo_digest="",
        label=names.classes[item.label] if item.label else "",
        predictions=tuple(replace(one, class_name=class_id(one.class_index)) for one in item.predictions),
        targets=tuple(_target(one, names) for one in item.targets),
    )


def _target(target: TargetExplanation, names: _Names) -> TargetExplanation:
    narratives = tuple(_narrative(item, names) for item in target.narratives)
    return replace(target, class_name=class_id(target.class_index), narratives=narratives)


def _narrative(narrative: Narrative, names: _Names) -> Narrative:
    """Replace the names in sentences that the program worded, piece by piece."""
    return replace(
        narrative,
        headline=_statement(narrative.headline, names),
        paragraphs=tuple(
            Paragraph(
                tuple(_statement(item, names) for item in paragraph.statements),
                _table(paragraph.table, names) if paragraph.table else None,
            )
            for paragraph in narrative.paragraphs
        ),
        adjusted=(),
        refusals=(),
        own_words=None,
    )


def _statement(statement: Statement, names: _Names) -> Statement:
    return replace(statement, pieces=_pieces(statement.pieces, names))


def _table(table: NarrativeTable, names: _Names) -> NarrativeTable:
    rows = tuple(tuple(_pieces(cell, names) for cell in row) for row in table.rows)
    header = tuple(names.class_in(text) if names.says_one(text) else text for text in table.header)
    return replace(table, caption=_pieces(table.caption, names), header=header, rows=rows)


def _pieces(pieces: tuple[Piece, ...], names: _Names) -> tuple[Piece, ...]:
    return tuple(_piece(piece, names) for piece in pieces)


def _piece(piece: Piece, names: _Names) -> Piece:
    """Replace the name of a class, and that of a concept unless the text is a name that is published."""
    if piece.kind == "class":
        own = names.class_in(piece.text) if piece.class_index is None else class_id(piece.class_index)
        return replace(piece, text=own)
    if piece.kind != "concept":
        return piece
    channel = piece.concept.rpartition(":")[2]
    if piece.text == channel or (piece.concept in names.concepts and not names.says_one(piece.text)):
        return piece
    return replace(piece, text=f"channel {channel}" if channel else "a concept", language="")


def _trust(trust: TrustReport, names: _Names) -> TrustReport:
    """Let what was measured of photos go by the new ids; what is of photos that are not shown is left out."""
    return replace(
        trust,
        photos=tuple(
            replace(item, explanation=names.ids[item.explanation])
            for item in trust.photos
            if item.explanation in names.ids
        ),
        usual=tuple(
            replace(item, explanation=names.ids[item.explanation])
            for item in trust.usual
            if item.explanation in names.ids
        ),
        parts={},
    )


def only_explanations(source: AtlasSource, positions: Iterable[int]) -> AtlasSource:
    """Return a source with these of its explanations alone, in their order, by their places."""
    chosen = sorted(set(np.asarray(list(positions), int).tolist()))
    return replace(source, explanations=tuple(source.explanations[place] for place in chosen))
