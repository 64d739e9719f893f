"""Where relevance lies in a photo: a box, a centre and words.

Owns the geometry of `records.Place` and its vocabulary. Must not know models, files or pictures.
"""

from __future__ import annotations

import numpy as np

from precompute.records import Box, FloatArray, Place

PLACE_MASS = 0.8
PLACE_CELLS = 32
WHOLE_AREA = 0.55
"""A box over more of the photo than this is called the whole image: even relevance would need 0.8."""

PLACE_WORDS = (
    *(f"{row} {column}" for row in ("upper", "lower") for column in ("left", "centre", "right")),
    *("centre left", "centre", "centre right"),
    "across the whole image",
    "nowhere in the image",
)
"""Every value that `Place.words` can have; the last one stands for a heatmap without any relevance."""


def locate(heatmap: FloatArray) -> Place:
    """Find where the positive part of a heatmap lies.

    The heatmap is summed over a grid of at most 32 x 32 cells. Of all boxes of whole cells that hold at least 80 %
    of the positive mass the smallest is taken; among equals the one that holds most, then the topmost, leftmost.

    Parameters
    ----------
    heatmap : (height, width) float64
        Negate it to locate relevance that speaks against.

    Returns
    -------
    Place
        The whole frame, "nowhere in the image", where nothing is positive.
    """
    mass = np.clip(heatmap, 0, None)
    height, width = mass.shape
    total = mass.sum()
    if not total > 0:
        return Place(Box(0, 0, height, width), 0.5, 0.5, 1.0, PLACE_WORDS[-1])
    mass = mass / total
    row = float(mass.sum(axis=1) @ (np.arange(height) + 0.5)) / height
    column = float(mass.sum(axis=0) @ (np.arange(width) + 0.5)) / width
    box = _smallest_box(mass)
    area = (box.bottom - box.top) * (box.right - box.left) / (height * width)
    return Place(box, row, column, area, place_words(row, column, area))


PLACES = (
    *("upper left", "upper centre", "upper right", "centre left", "centre", "centre right"),
    *("lower left", "lower centre", "lower right"),
)
"""All words for a place that is not the whole image."""


def place_words(row: float, column: float, area: float) -> str:
    """Say in words where a centre lies, both from 0 to 1, and whether the box covers the image."""
    if area > WHOLE_AREA:
        return "across the whole image"
    vertical = ("upper", "centre", "lower")[min(int(row * 3), 2)]
    horizontal = ("left", "centre", "right")[min(int(column * 3), 2)]
    return "centre" if vertical == horizontal else f"{vertical} {horizontal}"


def _smallest_box(mass: FloatArray) -> Box:
    """Compare all boxes of whole cells by one table of sums; `mass` sums to 1."""
    rows, columns = (np.unique(np.rint(np.linspace(0, length, PLACE_CELLS + 1)).astype(int)) for length in mass.shape)
    sums = np.pad(mass.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))[np.ix_(rows, columns)]
    top, bottom = np.triu_indices(len(rows), k=1)
    left, right = np.triu_indices(len(columns), k=1)
    strips = sums[bottom] - sums[top]
    held = strips[:, right] - strips[:, left]
    area = np.outer(rows[bottom] - rows[top], columns[right] - columns[left])
    area = np.where(held >= PLACE_MASS - 1e-12, area, mass.size + 1)
    smallest = np.flatnonzero(area == area.min())
    best = smallest[np.argmax(held.ravel()[smallest])]
    vertical, horizontal = np.unravel_index(best, area.shape)
    return Box(
        int(rows[top[vertical]]),
        int(columns[left[horizontal]]),
        int(rows[bottom[vertical]]),
        int(columns[right[horizontal]]),
    )
