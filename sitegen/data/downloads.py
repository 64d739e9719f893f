"""The data behind the pages, for machines: JSON for each page, a CSV of all concepts.

Owns their columns and keys, and what keeps untrusted text harmless in a spreadsheet. Must not know HTML.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from precompute.printing.spreadsheet import csv_text
from precompute.records import MISSING, RANKINGS, Concept, ConceptName, FloatArray, LayerTables, Ranking
from precompute.records.reliability import reliability_words

from .catalogue import Catalogue

CSV_COLUMNS = (
    "concept", "layer", "channel", "name", "second_name", "kind", "reliability", "author", "description",
    "auprc", "f1", "part", "part_mass", "best_class", "best_class_mean", "page",
)  # fmt: skip
DIGITS = 9
"""Significant digits of mean scores: as many as tell all numbers of single precision apart."""


def concept_data(catalogue: Catalogue, concept: Concept) -> dict[str, Any]:
    """Gather the data of one concept's page, ready for JSON."""
    tables = catalogue.atlas.layers[concept.layer]
    name, score = catalogue.name(concept.key), catalogue.score(concept.key)
    truth = catalogue.truth(concept.key)
    means = _shortened(catalogue.class_means[concept.layer][:, concept.channel])
    return {
        "concept": concept.key,
        "layer": concept.layer,
        "channel": concept.channel,
        "name": _name_data(name) if name else None,
        "score": asdict(score) if score else None,
        "truth": asdict(truth) if truth else None,
        "scores": catalogue.atlas.scores,
        **{ranking: _ranking_data(catalogue, tables, concept.channel, ranking) for ranking in RANKINGS},
        "class_mean_relevance": {str(index): means[index] for index in catalogue.class_indices if means[index]},
        "relevance_histogram": tables.relevance_histogram[concept.channel].tolist(),
        "activation_histogram": tables.activation_histogram[concept.channel].tolist(),
    }


def _name_data(name: ConceptName) -> dict[str, Any]:
    """Publish a name with what was measured of such names; a namer's own claim and its raw reply stay at home."""
    kept = {key: value for key, value in asdict(name).items() if key not in ("confidence", "raw_reply")}
    return kept | {"reliability": reliability_words(name)}


def _ranking_data(catalogue: Catalogue, tables: LayerTables, channel: int, ranking: Ranking) -> list[dict[str, Any]]:
    table = tables.ranking(ranking)
    columns = (table.sample_index[:, channel], table.score[:, channel], table.neuron[:, channel])
    return [
        {"rank": rank, "sample_index": index, "sample": catalogue.sample_name(index), "score": score, "neuron": neuron}
        for rank, (index, score, neuron) in enumerate(zip(*(c.tolist() for c in columns), strict=True))
        if index != MISSING
    ]


def class_data(catalogue: Catalogue, class_index: int) -> dict[str, Any]:
    """Gather the data of one class's page, ready for JSON."""
    return {
        "class_index": class_index,
        "name": catalogue.class_name(class_index),
        "n_samples": int(catalogue.atlas.class_counts[class_index]),
        "scores": catalogue.atlas.scores,
        "mean_relevance": {layer: _shortened(means[class_index]) for layer, means in catalogue.class_means.items()},
    }


def _shortened(values: FloatArray) -> list[float]:
    """Keep `DIGITS` significant digits of means, of which a large atlas has millions."""
    with np.errstate(divide="ignore"):
        scale = 10.0 ** np.clip(DIGITS - 1 - np.floor(np.log10(np.abs(values))), -300, 300)
    shortened: list[float] = (np.round(values * scale) / scale).tolist()
    return shortened


def to_json(value: object) -> str:
    """Encode data of a page, the same bytes every time."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"


def concepts_csv(catalogue: Catalogue) -> str:
    """Write all concepts as a table for spreadsheets."""
    return csv_text(CSV_COLUMNS, (_csv_row(catalogue, concept) for concept in catalogue.concepts()))


def _csv_row(catalogue: Catalogue, concept: Concept) -> list[Any]:
    name, score, truth = (
        catalogue.name(concept.key),
        catalogue.score(concept.key),
        catalogue.truth(concept.key),
    )
    best = catalogue.best_class(concept)
    return [
        *(concept.key, concept.layer, concept.channel),
        *(_name_cells(name) if name else _six()),
        *((score.auprc, score.f1) if score and not score.failure else ("", "")),
        *((truth.part, "" if truth.mass is None else truth.mass) if truth else ("", "")),
        *((catalogue.class_name(best), catalogue.mean_of(concept, best)) if best != MISSING else ("", "")),
        catalogue.links.concept(concept),
    ]


def _name_cells(name: ConceptName) -> tuple[Any, ...]:
    return name.name, name.second_name, name.kind, reliability_words(name), name.author, name.description


def _six() -> tuple[str, ...]:
    return ("",) * 6
