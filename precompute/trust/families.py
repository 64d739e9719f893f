"""Families: channels of a layer that are relevant on the same samples, at the same places, under a like name.

Owns the similarity of two channels and how the like are joined. Reads the mined tables alone; must not know networks,
files or pages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from precompute.records import Atlas, Concept, Family, FloatArray, IntArray
from precompute.records.trusted import LEAST_SIMILARITY

LEAST_REFERENCES = 8
"""Samples with relevance that a channel needs to be compared."""
SAME_PLACE = 1
"""Neurons, in rows and in columns, within which two places are the same."""
_LINKING = frozenset(("a", "an", "and", "at", "by", "for", "in", "of", "on", "the", "to", "with"))


def find_families(atlas: Atlas, layer: str, names: Mapping[str, str]) -> tuple[Family, ...]:
    """Find the families of a layer, those with most relevance first.

    Parameters
    ----------
    atlas : Atlas
    layer : str
    names : mapping of str to str
        By concept key; a concept without a name is missing.
    """
    channels, similarity = similarities(atlas, layer, names)
    weight = np.abs(atlas.layers[layer].class_relevance).sum(0)
    found = []
    for group in average_linkage(similarity, LEAST_SIMILARITY):
        if len(group) < 2:
            continue
        members = sorted(group, key=lambda place: (-weight[channels[place]], place))
        among = similarity[np.ix_(members, members)]
        pairs = among[np.triu_indices(len(members), 1)]
        keys = tuple(Concept(layer, int(channels[place])).key for place in members)
        found.append((float(weight[channels[members]].sum()), Family(layer, keys, float(min(1.0, pairs.mean())))))
    return tuple(family for _, family in sorted(found, key=lambda item: (-item[0], item[1].concepts)))


def similarities(atlas: Atlas, layer: str, names: Mapping[str, str]) -> tuple[IntArray, FloatArray]:
    """Compare all channels of a layer that have enough samples.

    The similarity is the product of three: the cosine of their relevance over the samples of both rankings (0 where a
    sample is not among a channel's best), the part of their common samples in which their most relevant neurons are at
    the same place, and, where both have names, half of 1 plus the overlap of the words.

    Returns
    -------
    channels : (m,) int64
    similarity : (m, m) float64
        1 on the diagonal.
    """
    tables = atlas.layers[layer]
    table, width = tables.relmax, max(1, tables.info.width)
    telling = table.telling(len(table.sample_index))
    channels = np.flatnonzero(telling.sum(0) >= LEAST_REFERENCES)
    rank, place = np.nonzero(telling[:, channels])
    sample, neuron = table.sample_index[rank, channels[place]], table.neuron[rank, channels[place]]
    score = table.score[rank, channels[place]]
    norm = np.sqrt(np.bincount(place, score**2, minlength=len(channels)))
    score = score / norm[place]
    cosine, near, common = (np.zeros((len(channels), len(channels))) for _ in range(3))
    order = np.argsort(sample, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(sample[order])) + 1):
        at = np.ix_(place[rows], place[rows])
        row, column = neuron[rows] // width, neuron[rows] % width
        apart = np.maximum(np.abs(row[:, None] - row), np.abs(column[:, None] - column))
        cosine[at] += score[rows][:, None] * score[rows]
        near[at] += apart <= SAME_PLACE
        common[at] += 1
    words = [_words(names.get(Concept(layer, int(channel)).key, "")) for channel in channels]
    named = np.asarray([[_alike(first, second) for second in words] for first in words]).reshape(cosine.shape)
    similarity = cosine * near / np.maximum(common, 1) * named
    np.fill_diagonal(similarity, 1.0)
    return channels, similarity


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", name.casefold())) - _LINKING


def _alike(first: frozenset[str], second: frozenset[str]) -> float:
    if not first or not second:
        return 1.0
    return 0.5 + 0.5 * len(first & second) / len(first | second)


def average_linkage(similarity: FloatArray, least: float) -> list[list[int]]:
    """Join, again and again, the two groups whose members are most alike on average, as long as they are `least`.

    Parameters
    ----------
    similarity : (n, n) float64
        Symmetric.
    least : float

    Returns
    -------
    list of list of int
        Every place in one group, ascending; groups by their first place.
    """
    n = len(similarity)
    between = np.array(similarity, np.float64)
    np.fill_diagonal(between, -np.inf)
    groups: dict[int, list[int]] = {place: [place] for place in range(n)}
    while len(groups) > 1:
        first, second = sorted(int(value) for value in np.unravel_index(int(between.argmax()), between.shape))
        if between[first, second] < least:
            break
        sizes = len(groups[first]), len(groups[second])
        joined = (between[first] * sizes[0] + between[second] * sizes[1]) / sum(sizes)
        between[first], between[:, first] = joined, joined
        between[first, first] = -np.inf
        between[second], between[:, second] = -np.inf, -np.inf
        groups[first] += groups.pop(second)
    return sorted(sorted(group) for group in groups.values())


def rand_index(first: IntArray, second: IntArray) -> float:
    """Return the adjusted Rand index of two groupings, (n,) each: 1 where they are the same, about 0 by chance."""
    n = len(first)
    rows, columns = np.unique(first, return_inverse=True)[1], np.unique(second, return_inverse=True)[1]
    table = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(table, (rows, columns), 1)

    def pairs(counts: FloatArray) -> float:
        return float((counts * (counts - 1) / 2).sum())

    same, by_rows, by_columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    expected, most = by_rows * by_columns / (n * (n - 1) / 2), (by_rows + by_columns) / 2
    return (same - expected) / (most - expected) if most > expected else 1.0
