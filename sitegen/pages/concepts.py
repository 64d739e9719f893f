"""The concept pages, the layer galleries, their index, and the data that search and spreadsheets take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, get_args

import numpy as np

from precompute.records import MISSING, RANKINGS, Box, Concept, ConceptName, LayerTables, LayerTruth, Ranking
from precompute.records.reliability import NO_NAME_HOLDS, choice_words
from precompute.records.values import NameKind
from sitegen import links
from sitegen.charts import histogram, histogram_ends, is_even
from sitegen.data import downloads
from sitegen.data.catalogue import Catalogue, ConceptCard, find
from sitegen.data.search_index import search_index
from sitegen.pictures import Tile

from .page import Page, Section
from .samples import sample_address
from .trust import family_of

N_CLASSES_SHOWN = 8
LEAST_SHOWN = 0.001
"""Smallest mean share of a class that has a row of its own; the first class always has one."""
N_USES_SHOWN = 24
N_CARDS_PER_LAYER = 10
_NO_BOX = Box(0, 0, 0, 0)

RANKING_WORDS: dict[Ranking, tuple[str, str]] = {
    "relmax": ("Most relevant", "samples on which this concept did most for the target class"),
    "actmax": ("Most active", "samples on which {output} is largest"),
}


def concept_pages(catalogue: Catalogue) -> Iterator[Page]:
    """List the index, the gallery of each layer and the page of each concept."""
    yield Page(
        links.CONCEPTS,
        "Concepts",
        "layers.html.j2",
        lambda: layers_context(catalogue),
        lambda: {
            links.CONCEPTS_CSV: downloads.concepts_csv(catalogue),
            links.SEARCH_INDEX: search_index(catalogue),
        },
    )
    for layer in catalogue.atlas.layers:
        address = catalogue.links.layer(layer)
        yield Page(address, f"Layer {layer}", "layer.html.j2", partial(layer_context, catalogue, layer))
    for concept in catalogue.concepts():
        address = catalogue.links.concept(concept)
        yield Page(
            address,
            f"{catalogue.card_name(concept)} ({concept.layer} · {concept.channel})",
            "concept.html.j2",
            partial(concept_context, catalogue, concept),
            partial(_concept_data, catalogue, concept, address),
        )


SECTIONS = (Section("Concepts", links.CONCEPTS, 20, concept_pages),)


def _concept_data(catalogue: Catalogue, concept: Concept, address: str) -> dict[str, str]:
    return {links.json_of(address): downloads.to_json(downloads.concept_data(catalogue, concept))}


def concept_context(catalogue: Catalogue, concept: Concept) -> dict[str, Any]:
    """Gather what one concept's page shows."""
    tables = catalogue.atlas.layers[concept.layer]
    name, score = catalogue.name(concept.key), catalogue.score(concept.key)
    return {
        "card": catalogue.card(concept.key),
        "concept": concept,
        "info": tables.info,
        "name": name,
        "author": name.by.words if name else "not named",
        "score": score,
        "verdict": choice_words(score) if score else "",
        "no_name_holds": score is not None and choice_words(score) == NO_NAME_HOLDS,
        "truth": catalogue.truth(concept.key),
        "flag": catalogue.flagged.get(concept.key, ""),
        "rankings": [ranking_context(catalogue, concept, ranking) for ranking in RANKINGS],
        "is_silent": not catalogue.class_means[concept.layer][:, concept.channel].any(),
        "n_mined": catalogue.n_mined,
        "has_pictures": bool(catalogue.illustrations.tiles(concept)),
        "views": _views(catalogue.illustrations.tiles(concept)),
        "classes": top_classes(catalogue, concept),
        "n_classes": int((catalogue.class_means[concept.layer][:, concept.channel] > 0).sum()),
        "scores_are_shares": catalogue.scores_are_shares,
        "share_of": catalogue.share_of(concept.layer),
        "histograms": _histograms(catalogue, tables, concept.channel),
        "uses": catalogue.uses.get(concept.key, [])[:N_USES_SHOWN],
        "n_uses": len(catalogue.uses.get(concept.key, [])),
        "family": family_of(catalogue, concept),
        "catalogue": catalogue,
        **_neighbours(catalogue, concept),
    }


def ranking_context(catalogue: Catalogue, concept: Concept, ranking: Ranking) -> dict[str, Any]:
    """Gather the reference images of one ranking; where none were rendered, the rows of the table alone."""
    title, meaning = RANKING_WORDS[ranking]
    provenance = catalogue.atlas.provenance
    if find(provenance, "activation", default="sum") == "max":
        output = "the channel’s output, behind its activation function and at its strongest place,"
    elif find(provenance, "max_target", default="sum") == "sum":
        output = "the channel’s output, before its activation function and summed over the whole sample,"
    else:
        output = "the channel’s output, before its activation function and at its strongest place,"
    tiles = [tile for tile in catalogue.illustrations.tiles(concept) if tile.ranking == ranking]
    rows = tiles or _bare_rows(catalogue.atlas.layers[concept.layer], concept.channel, ranking)
    return {
        "ranking": ranking,
        "title": title,
        "meaning": meaning.format(output=output),
        "tiles": [
            {
                "tile": tile,
                "sample": catalogue.sample_name(tile.sample_index),
                "address": sample_address(catalogue, tile.sample_index),
                "label": catalogue.sample_label(tile.sample_index),
                "outlier": _is_outlier(catalogue.name(concept.key), tile),
            }
            for tile in rows
        ],
    }


def _bare_rows(tables: LayerTables, channel: int, ranking: Ranking, limit: int = 8) -> list[Tile]:
    table = tables.ranking(ranking)
    return [
        Tile(
            ranking,
            rank,
            int(table.sample_index[rank, channel]),
            int(table.neuron[rank, channel]),
            float(table.score[rank, channel]),
            _NO_BOX,
        )
        for rank in np.flatnonzero(table.telling(limit)[:, channel]).tolist()
    ]


def _is_outlier(name: ConceptName | None, tile: Tile) -> bool:
    return bool(name) and tile.ranking == "relmax" and tile.rank in name.outliers if name else False


def _views(tiles: Sequence[Tile]) -> list[tuple[str, str]]:
    """List the views that there are pictures for."""
    words = (("crop", "Crop"), ("masked", "What counted"), ("heatmap", "Heatmap"), ("whole", "Whole image"))
    return [(view, title) for view, title in words if any(getattr(tile, view) for tile in tiles)]


def top_classes(catalogue: Catalogue, concept: Concept) -> list[dict[str, Any]]:
    """List the classes in which a concept has most relevance on average, with bars relative to the first."""
    means = catalogue.class_means[concept.layer][:, concept.channel]
    order = np.argsort(-means, kind="stable")[:N_CLASSES_SHOWN].tolist()
    least = LEAST_SHOWN if catalogue.scores_are_shares else 0.0
    rows = [
        (index, float(means[index])) for place, index in enumerate(order) if means[index] > (least if place else 0.0)
    ]
    return [
        {
            "name": catalogue.class_name(index),
            "address": catalogue.class_address(index),
            "mean": mean,
            "bar": mean / rows[0][1],
            "n_samples": int(catalogue.atlas.class_counts[index]),
        }
        for index, mean in rows
    ]


def _histograms(catalogue: Catalogue, tables: LayerTables, channel: int) -> list[dict[str, Any]]:
    atlas = catalogue.atlas
    kinds = (
        ("Relevance", tables.relevance_histogram[channel].tolist(), atlas.relevance_edges.tolist()),
        ("Activation", tables.activation_histogram[channel].tolist(), atlas.activation_edges.tolist()),
    )
    return [
        {
            "title": title,
            "chart": histogram(counts, edges, title),
            "ends": histogram_ends(counts, edges),
            "even": is_even(edges),
        }
        for title, counts, edges in kinds
    ]


def _neighbours(catalogue: Catalogue, concept: Concept) -> dict[str, Any]:
    n_channels = catalogue.atlas.layers[concept.layer].info.n_channels
    before, after = concept.channel - 1, concept.channel + 1
    return {
        "previous": catalogue.card(Concept(concept.layer, before).key) if before >= 0 else None,
        "following": catalogue.card(Concept(concept.layer, after).key) if after < n_channels else None,
    }


def layer_context(catalogue: Catalogue, layer: str) -> dict[str, Any]:
    """Gather the gallery of one layer."""
    info = catalogue.atlas.layers[layer].info
    names = list(catalogue.atlas.layers)
    place = names.index(layer)
    means = catalogue.class_means[layer]
    order = np.argsort(-catalogue.atlas.layers[layer].class_relevance.sum(axis=0), kind="stable").tolist()
    tiles = [_tile(catalogue, Concept(layer, channel)) for channel in order if means[:, channel].any()]
    return {
        "info": info,
        "tiles": _stacked(tiles),
        "filters": _filters(tiles),
        "silent": [catalogue.card(Concept(layer, channel).key) for channel in order if not means[:, channel].any()],
        "flagged": catalogue.flagged,
        "scores_are_shares": catalogue.scores_are_shares,
        "links_of": catalogue.links,
        "previous_layer": names[place - 1] if place else "",
        "following_layer": names[place + 1] if place + 1 < len(names) else "",
        "truth": _layer_truth(catalogue, layer),
    }


def _tile(catalogue: Catalogue, concept: Concept) -> dict[str, Any]:
    best = catalogue.best_class(concept)
    return {
        "card": catalogue.card(concept.key),
        "class_name": catalogue.class_name(best) if best != MISSING else "",
        "mean": catalogue.mean_of(concept, best) if best != MISSING else 0.0,
        "more": [],
    }


def _stacked(tiles: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put concepts of one name under the one with most relevance; those without a name stay alone."""
    first: dict[tuple[str, str], dict[str, Any]] = {}
    shown = []
    for tile in tiles:
        card = tile["card"]
        key = (card.name, card.kind)
        if card.named and key in first:
            first[key]["more"].append(card)
            continue
        shown.append(tile)
        first.setdefault(key, tile)
    return shown


def _filters(tiles: Sequence[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """List what a gallery can be narrowed to: value, words and number of concepts; none where there is no choice."""
    kinds = [kind for kind in get_args(NameKind) if any(tile["card"].kind == kind for tile in tiles)]
    found = [(f"kind-{kind}", kind, sum(tile["card"].kind == kind for tile in tiles)) for kind in kinds]
    found += [("mixed", "mixed", sum(tile["card"].mixed for tile in tiles))]
    found += [("unnamed", "without a name", sum(not tile["card"].named for tile in tiles))]
    found = [item for item in found if item[2]]
    return found if len(found) > 1 else []


def _layer_truth(catalogue: Catalogue, layer: str) -> LayerTruth | None:
    report = catalogue.source.truth
    return next((row for row in report.layers if row.layer == layer), None) if report else None


def layers_context(catalogue: Catalogue) -> dict[str, Any]:
    """Gather the index of the layers, the deepest first."""
    return {
        "layers": [
            {
                "info": tables.info,
                "address": catalogue.links.layer(layer),
                "cards": sample_cards(catalogue, layer, N_CARDS_PER_LAYER),
                "n_named": sum(catalogue.card(Concept(layer, c).key).named for c in range(tables.info.n_channels)),
            }
            for layer, tables in reversed(catalogue.atlas.layers.items())
        ],
        "n_concepts": catalogue.n_concepts,
    }


def sample_cards(catalogue: Catalogue, layer: str, limit: int) -> list[ConceptCard]:
    """Pick the concepts of a layer with most relevance over all classes."""
    total = catalogue.atlas.layers[layer].class_relevance.sum(axis=0)
    order = np.argsort(-total, kind="stable")[:limit].tolist()
    return [catalogue.card(Concept(layer, channel).key) for channel in order]
