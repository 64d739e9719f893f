"""What the map and the comparison of two things are drawn from, as scripts: a page opened from a file cannot fetch.

Owns the layout of these files (docs/site-format.md). Concepts are told by their place in the search index. Must not
know how they are drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from precompute.records import MISSING, Concept, Explanation, FloatArray
from sitegen.render import script_json

from .catalogue import Catalogue
from .layout import SIDE, lay_out

LEAST = 0.002
"""Smallest absolute mean share that is kept of a class or a concept."""
N_KEPT = 60
N_EXAMPLES = 8


def map_script(catalogue: Catalogue) -> str:
    """Write ``window.atlasMap``: ``side``, and ``places``, the x and y of every concept; -1 where it is not drawn."""
    places = lay_out(catalogue.atlas)
    rows = [places.get(concept, (MISSING, MISSING)) for concept in catalogue.concepts()]
    return f"window.atlasMap={script_json({'side': SIDE, 'places': [value for row in rows for value in row]})};\n"


def compare_script(catalogue: Catalogue) -> str:
    """Write ``window.atlasCompare``.

    ``least``: what is left out is smaller; ``is_share``; ``layer``: the deepest; ``classes``: by class of the search
    index pairs of concept (its place in the search index) and mean share there; ``confused``: (label, prediction,
    number) of classes; ``concepts``: by concept pairs of class and mean share, the largest first; ``examples``: the
    first samples of each concept by relevance; ``photos``: class, probability, layer, pairs of concept and share.
    """
    classes = {index: number for number, index in enumerate(catalogue.class_indices)}
    numbers = {concept: number for number, concept in enumerate(catalogue.concepts())}
    deepest = next(reversed(catalogue.atlas.layers), "")
    first = next((number for concept, number in numbers.items() if concept.layer == deepest), 0)
    least = LEAST if catalogue.scores_are_shares else 0.0
    means = catalogue.class_means.get(deepest, np.zeros((0, 0)))
    concepts: list[list[float]] = []
    examples: list[list[int]] = []
    for layer, tables in catalogue.atlas.layers.items():
        of_layer = catalogue.class_means[layer][catalogue.class_indices]
        concepts += [_pairs(column, least, 12, positive=True) for column in of_layer.T]
        telling = tables.relmax.telling(N_EXAMPLES)
        samples = tables.relmax.sample_index[:N_EXAMPLES]
        examples += [samples[telling[:, channel], channel].tolist() for channel in range(tables.info.n_channels)]
    return "window.atlasCompare=" + script_json(
        {
            "least": least,
            "is_share": catalogue.scores_are_shares,
            "layer": deepest,
            "classes": [_pairs(means[index], least, N_KEPT, first) for index in classes],
            "confused": _confused(catalogue, classes),
            "concepts": concepts,
            "examples": examples,
            "photos": [_photo(item, numbers, least) for item in catalogue.source.explanations],
        }
    ) + ";\n"  # fmt: skip


def _pairs(values: FloatArray, least: float, limit: int, first: int = 0, *, positive: bool = False) -> list[float]:
    """List places (counted from `first`) and values in turns, the largest first."""
    size = np.asarray(values) if positive else np.abs(values)
    order = np.argsort(-size, kind="stable")[:limit].tolist()
    kept = [index for index in order if size[index] > least]
    return [item for index in kept for item in (index + first, round(float(values[index]), 4))]


def _confused(catalogue: Catalogue, classes: dict[int, int]) -> list[tuple[int, int, int]]:
    samples = catalogue.atlas.samples
    wrong = (samples.label != MISSING) & (samples.prediction != MISSING) & (samples.label != samples.prediction)
    pairs, n = np.unique(np.stack([samples.label[wrong], samples.prediction[wrong]]), axis=1, return_counts=True)
    return [
        (classes[label], classes[said], number)
        for label, said, number in zip(*pairs.tolist(), n.tolist(), strict=True)
        if label in classes and said in classes
    ]


def _photo(item: Explanation, numbers: dict[Concept, int], least: float) -> list[Any]:
    target = item.targets[0] if item.targets else None
    layer = target.layers[0] if target and target.layers else None
    first = numbers.get(Concept(layer.layer, 0), MISSING) if layer else MISSING
    return [
        target.class_name if target else "",
        round(target.probability, 4) if target else 0,
        layer.layer if layer else "",
        _pairs(np.asarray(layer.shares), least or LEAST, N_KEPT, first) if layer and first != MISSING else [],
    ]
