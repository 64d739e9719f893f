"""The class pages and their index."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from precompute.records import MISSING, Concept, Explanation, ShortcutTruth, TargetExplanation
from sitegen import links
from sitegen.data import downloads
from sitegen.data.catalogue import Catalogue, ConceptCard

from .audit import warned
from .explanations import explanation_card
from .page import Page, Section
from .samples import SampleUses, sample_pages
from .trust import class_families, class_ways

N_CONCEPTS_SHOWN, N_CONCEPTS_SHALLOWER = 10, 4
"""Rows of the deepest layer, and of each other one, whose gallery has all."""
LEAST_SHOWN = 0.001
"""Smallest mean share that has a row of its own; the first concept of a layer always has one."""
N_CONFUSED_SHOWN = 6
WARNED_SHARE = 0.01
"""A mark of the deepest layer with a smaller mean share is flagged in its row and not warned of."""

Explained = tuple[Explanation, TargetExplanation]


def class_pages(catalogue: Catalogue) -> Iterator[Page]:
    """List the index and the page of each class that has samples."""
    explained, uses = explained_classes(catalogue), SampleUses(catalogue)
    yield Page(links.CLASSES, "Classes", "classes.html.j2", lambda: classes_context(catalogue, explained))
    for index in catalogue.class_indices:
        address = catalogue.links.class_page(index)
        yield Page(
            address,
            catalogue.class_name(index),
            "class.html.j2",
            partial(class_context, catalogue, index, explained, has_samples=index in uses.of_class),
            partial(_class_data, catalogue, index, address),
        )
    yield from sample_pages(catalogue, uses)


SECTIONS = (Section("Classes", links.CLASSES, 30, class_pages),)


def _class_data(catalogue: Catalogue, class_index: int, address: str) -> dict[str, str]:
    return {links.json_of(address): downloads.to_json(downloads.class_data(catalogue, class_index))}


def explained_classes(catalogue: Catalogue) -> Mapping[int, list[Explained]]:
    """List the explanations of every class."""
    found: dict[int, list[Explained]] = defaultdict(list)
    for explanation in catalogue.source.explanations:
        for target in explanation.targets:
            found[target.class_index].append((explanation, target))
    return found


def class_context(
    catalogue: Catalogue, class_index: int, explained: Mapping[int, list[Explained]], *, has_samples: bool
) -> dict[str, Any]:
    """Gather what one class's page shows: the deepest layer first; `has_samples` if there is a page of its samples."""
    indices = catalogue.class_indices
    place = indices.index(class_index)
    layers = [
        _layer_rows(catalogue, class_index, layer, N_CONCEPTS_SHALLOWER if depth else N_CONCEPTS_SHOWN)
        for depth, layer in enumerate(reversed(catalogue.atlas.layers))
    ]
    of_class = explained.get(class_index, [])
    predicted = [item for item, _ in of_class if item.predictions and item.predictions[0].class_index == class_index]
    predicted.sort(key=lambda item: item.label == item.predictions[0].class_name)  # the wrong ones first
    shortcut = _shortcut(catalogue, class_index)
    planted = _planted_row(catalogue, class_index, shortcut)
    flagged, further = _flagged(layers, planted, is_share=catalogue.scores_are_shares)
    findings = warned(catalogue, class_index)
    if findings is not None:  # what a concept is called is no evidence: the audit measured it
        further = [row for row in (*flagged, *further) if row not in planted]
        flagged = planted
    return {
        "class_index": class_index,
        "name": catalogue.class_name(class_index),
        "n_samples": int(catalogue.atlas.class_counts[class_index]),
        "layers": layers,
        "flagged": flagged,
        "flagged_further": further,
        "explained": [explanation_card(catalogue, item) for item in predicted],
        "also_explained": [explanation_card(catalogue, item) for item, _ in of_class if item not in predicted],
        "samples_address": catalogue.links.samples(class_index) if has_samples else "",
        "place": place,
        "confused": _confused(catalogue, class_index),
        "lede": _lede(catalogue, class_index, layers[0]["rows"] if layers else []),
        "scores_are_shares": catalogue.scores_are_shares,
        "shortcut": shortcut,
        "findings": [(catalogue.card(item.concept), item) for item in findings or ()],
        "suspect": bool(findings or (shortcut and shortcut.used)) or len(flagged) > len(planted),
        "is_audited": findings is not None,
        "families": class_families(catalogue, class_index),
        **class_ways(catalogue, class_index),
        "catalogue": catalogue,
        "previous": _neighbour(catalogue, indices[place - 1]) if place else None,
        "following": _neighbour(catalogue, indices[place + 1]) if place + 1 < len(indices) else None,
    }


def _lede(catalogue: Catalogue, class_index: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Gather the figures that a class's page begins with: its first concepts, and how often the network is right."""
    return {
        "first": [row["card"] for row in rows[:3]],
        "share": sum(row["mean"] for row in rows[:3]),
        **_right(catalogue, class_index),
    }


def _right(catalogue: Catalogue, class_index: int) -> dict[str, int]:
    samples = catalogue.atlas.samples
    labelled = (samples.label == class_index) & (samples.prediction != MISSING)
    return {
        "n_labelled": int(labelled.sum()),
        "n_right": int((labelled & (samples.prediction == class_index)).sum()),
    }


def _flagged(
    layers: list[dict[str, Any]], planted: list[dict[str, Any]], *, is_share: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Part the flagged rows into those to warn of and all others.

    To warn of: the planted one, and those of the deepest layer that carry enough of it. In shallower layers marks carry
    relevance for classes that do not rest on them, which the deeper ones have dropped.
    """
    known = {row["card"].key for row in planted}
    flagged = [row for layer in layers for row in layer["rows"] if row["flag"] and row["card"].key not in known]
    deepest = {row["card"].key for row in layers[0]["rows"]} if layers else set()
    told = [row for row in flagged if row["card"].key in deepest and (row["mean"] >= WARNED_SHARE or not is_share)]
    return [*planted, *told], [row for row in flagged if row not in told]


def _planted_row(catalogue: Catalogue, class_index: int, shortcut: ShortcutTruth | None) -> list[dict[str, Any]]:
    """Give the row of the planted mark's concept, however far down it ranks; none where there is no such concept."""
    if shortcut is None or not shortcut.concept:
        return []
    concept = Concept.parse(shortcut.concept)
    means = catalogue.class_means[concept.layer][class_index]
    rank = np.argsort(-means, kind="stable").tolist().index(concept.channel)
    return [_row(catalogue, concept, rank, float(means[concept.channel]))]


def _neighbour(catalogue: Catalogue, class_index: int) -> dict[str, str]:
    return {"name": catalogue.class_name(class_index), "address": catalogue.class_address(class_index)}


def _layer_rows(catalogue: Catalogue, class_index: int, layer: str, limit: int) -> dict[str, Any]:
    means = catalogue.class_means[layer][class_index]
    order = np.argsort(-means, kind="stable")[:limit].tolist()
    least = LEAST_SHOWN if catalogue.scores_are_shares else 0.0
    shown = [
        (channel, float(means[channel]))
        for rank, channel in enumerate(order)
        if means[channel] > (least if rank else 0.0)
    ]
    rows = [
        _row(catalogue, Concept(layer, channel), rank, mean) | {"bar": mean / shown[0][1]}
        for rank, (channel, mean) in enumerate(shown)
    ]
    return {
        "name": layer,
        "address": catalogue.links.layer(layer),
        "rows": rows,
        "shown_mean": sum(mean for _, mean in shown),
        "share_of": catalogue.share_of(layer),
        "n_channels": catalogue.atlas.layers[layer].info.n_channels,
        "least": LEAST_SHOWN if len(shown) < limit and catalogue.scores_are_shares else None,
    }


def _confused(catalogue: Catalogue, class_index: int) -> dict[str, Any]:
    """Count what the class's samples are taken for, and whose samples are taken for it, the most frequent first."""
    samples = catalogue.atlas.samples
    known = (samples.label != MISSING) & (samples.prediction != MISSING) & (samples.label != samples.prediction)

    def counted(there: np.ndarray, here: np.ndarray) -> list[dict[str, Any]]:
        found = Counter(there[known & (here == class_index)].tolist())
        return [
            {
                "name": catalogue.class_name(index),
                "address": catalogue.class_address(index),
                "n": number,
                "place": catalogue.class_indices.index(index),
            }
            for index, number in sorted(found.items(), key=lambda item: (-item[1], item[0]))[:N_CONFUSED_SHOWN]
            if catalogue.class_address(index)
        ]

    return {
        "taken_for": counted(samples.prediction, samples.label),
        "taken_from": counted(samples.label, samples.prediction),
    }


def _row(catalogue: Catalogue, concept: Concept, rank: int, mean: float) -> dict[str, Any]:
    card, flag = catalogue.card(concept.key), catalogue.flagged.get(concept.key, "")
    return {"rank": rank, "card": card, "mean": mean, "flag": flag}


def _shortcut(catalogue: Catalogue, class_index: int) -> ShortcutTruth | None:
    report = catalogue.source.truth
    shortcut = report.shortcut if report else None
    return shortcut if shortcut and shortcut.class_name == catalogue.class_name(class_index) else None


def classes_context(catalogue: Catalogue, explained: Mapping[int, list[Explained]]) -> dict[str, Any]:
    """Gather the index of the classes, with the leading concept of each in the last layer."""
    last = next(reversed(catalogue.atlas.layers), None)
    return {
        "classes": [
            {
                "name": catalogue.class_name(index),
                "address": catalogue.class_address(index),
                "n_samples": int(catalogue.atlas.class_counts[index]),
                "n_explained": len(explained.get(index, [])),
                "n_findings": len(warned(catalogue, index) or ()),
                **_right(catalogue, index),
                "lead": _lead(catalogue, index, last) if last else None,
            }
            for index in catalogue.class_indices
        ]
    }


def _lead(catalogue: Catalogue, class_index: int, layer: str) -> ConceptCard | None:
    means = catalogue.class_means[layer][class_index]
    channel = int(np.argmax(means)) if len(means) else 0
    return catalogue.card(Concept(layer, channel).key) if len(means) and means[channel] > 0 else None
