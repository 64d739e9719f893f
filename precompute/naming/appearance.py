"""What the crop of a reference image looks like: colours, texture, size and place.

Owns the measures on pixels and their names. Knows NumPy and Pillow; must not know labels, rankings or models.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from precompute.images.pictures import Rgb, blur, visible_relevance
from precompute.records import FloatArray, Reference

COLOURS = ("black", "grey", "white", "red", "orange", "brown", "yellow", "green", "blue", "purple", "pink")
"""The eleven basic colour terms."""

DIRECTIONS = ("horizontal", "rising", "vertical", "falling")
"""Directions of stripes, from 0 degrees in steps of 45, counter-clockwise."""


@dataclass(frozen=True, eq=False)
class Appearance:
    """Measures of one reference image; those of pixels are of its visible part, weighted by relevance.

    Attributes
    ----------
    colours : (11,) float64
        Share of the pixels by colour term of `COLOURS`; sums to 1.
    brightness : float
        Mean luminance, 0 to 1.
    contrast : float
        Root mean square of the luminance gradient per stored pixel, full range 1.
    fineness : float
        Part of the luminance's variance that a blur by three pixels takes away, 0 to 1.
    stripes : complex
        Coherence of the edges (absolute value, 0 to 1) and their direction, as twice the angle.
    squareness : float
        1 where all edges are upright or level, -1 where all are diagonal, 0 for even directions.
    roundness : float
        Share of the edges' energy whose slope points to or from their common centre: 1 for discs and rings, 0 for
        spokes, 0.5 for directions that have nothing to do with it.
    row, column : float
        Centre of the positive relevance (of the crop without a heatmap) as a fraction of the photo.
    area : float
        Area of the crop over the area of the photo.
    """

    colours: FloatArray
    brightness: float
    contrast: float
    fineness: float
    stripes: complex
    squareness: float
    roundness: float
    row: float
    column: float
    area: float


def measure(reference: Reference, image_size: tuple[int, int]) -> Appearance:
    """Measure one reference image.

    Parameters
    ----------
    reference : Reference
    image_size : (int, int)
        Height and width of the preprocessed input in pixels.
    """
    crop = np.asarray(Image.open(io.BytesIO(reference.crop)).convert("RGB"))
    weights = _weights(reference, crop.shape[:2])
    luminance = crop @ np.array([0.299, 0.587, 0.114]) / 255.0
    row, column = _centre(weights)
    edges = _edges(luminance, weights)
    box, (height, width) = reference.box, image_size
    return Appearance(
        colours=_colour_shares(crop, weights),
        brightness=float((weights * luminance).sum()),
        contrast=edges.contrast,
        fineness=_fineness(luminance, weights),
        stripes=edges.stripes,
        squareness=edges.squareness,
        roundness=edges.roundness,
        row=(box.top + row * (box.bottom - box.top)) / height,
        column=(box.left + column * (box.right - box.left)) / width,
        area=(box.bottom - box.top) * (box.right - box.left) / (height * width),
    )


def classify_colours(rgb: Rgb) -> npt.NDArray[np.intp]:
    """Name the colour of every pixel by fixed ranges of hue, saturation and value.

    Parameters
    ----------
    rgb : (height, width, 3) uint8

    Returns
    -------
    (height, width) int
        Position in `COLOURS`.
    """
    hue, saturation, value = _hue_saturation_value(rgb)
    dull = saturation < np.where(value < 0.35, 0.35, 0.18)
    warm = (hue >= 12) & (hue < 45)
    name = {colour: index for index, colour in enumerate(COLOURS)}
    rules = [
        (value < 0.16, "black"),
        (dull & (value < 0.25), "black"),
        (dull & (value > 0.82), "white"),
        (dull, "grey"),
        (((hue < 12) | (hue >= 345)) & (value > 0.75) & (saturation < 0.5), "pink"),
        (((hue < 12) | (hue >= 345)) & (saturation < 0.55), "brown"),
        ((hue < 12) | (hue >= 345), "red"),
        (warm & ((value < 0.7) | (saturation < 0.5)), "brown"),
        (warm, "orange"),
        ((hue < 68) & (value < 0.45) & (hue < 55), "brown"),
        (hue < 68, "yellow"),
        (hue < 165, "green"),
        (hue < 255, "blue"),
        (hue < 300, "purple"),
    ]
    found = np.select([condition for condition, _ in rules], [name[colour] for _, colour in rules], name["pink"])
    return np.asarray(found)


def stripe_direction(stripes: complex) -> str:
    """Name the direction of the nearest multiple of 45 degrees; `stripes` as in `Appearance`."""
    angle = np.angle(stripes) / 2
    return DIRECTIONS[round(angle / (np.pi / 4)) % 4]


def distances_to_median(centres: FloatArray) -> FloatArray:
    """Compute the (n,) distances of (n, 2) centres to their median, in the same unit."""
    return np.asarray(np.linalg.norm(centres - np.median(centres, axis=0), axis=1))


def _colour_shares(crop: Rgb, weights: FloatArray) -> FloatArray:
    colours = classify_colours(crop)
    return np.array([weights[colours == index].sum() for index in range(len(COLOURS))])


def _weights(reference: Reference, shape: tuple[int, int]) -> FloatArray:
    """Weigh pixels by visible relevance; without a heatmap by nearness to the centre. Sums to 1."""
    rows, columns = (np.linspace(-1, 1, length)[:, None] if length > 1 else np.zeros((1, 1)) for length in shape)
    centred = np.exp(-2.0 * (rows**2 + columns.T**2))
    if not reference.heatmap or not reference.heatmap_scale:
        return np.asarray(centred / centred.sum())
    positive = visible_relevance(reference.heatmap, (shape[0], shape[1]))
    weights = positive if positive.any() else centred
    return np.asarray(weights / weights.sum())


def _hue_saturation_value(rgb: Rgb) -> tuple[FloatArray, FloatArray, FloatArray]:
    values = rgb.astype(np.float64) / 255.0
    red, green, blue = (values[..., channel] for channel in range(3))
    value, low = values.max(axis=-1), values.min(axis=-1)
    chroma = value - low
    safe = np.where(chroma > 0, chroma, 1.0)
    hue = np.select(
        [value == red, value == green], [(green - blue) / safe % 6, (blue - red) / safe + 2], (red - green) / safe + 4
    )
    return hue * 60.0, chroma / np.where(value > 0, value, 1.0), value


class _Edges(NamedTuple):
    contrast: float = 0.0
    stripes: complex = 0j
    squareness: float = 0.0
    roundness: float = 0.5


def _edges(luminance: FloatArray, weights: FloatArray) -> _Edges:
    """Average the directions of all slopes, weighted by their energy; a stripe runs across its slope."""
    if min(luminance.shape) < 3:
        return _Edges()
    down, right = np.gradient(luminance)
    slope = right - 1j * down
    energy = weights * np.abs(slope) ** 2
    total = float(energy.sum())
    if total < 1e-12:
        return _Edges()
    unit = slope / np.maximum(np.abs(slope), 1e-12)
    return _Edges(
        contrast=total**0.5,
        # A slope at angle a has stripes at a + 90 degrees: twice the angle turns by 180, hence the minus.
        stripes=-complex((energy * unit**2).sum()) / total,
        squareness=float((energy * (unit**4).real).sum()) / total,
        roundness=_roundness(energy, unit, total),
    )


def _roundness(energy: FloatArray, unit: npt.NDArray[np.complex128], total: float) -> float:
    """Average how far slopes (unit numbers, right minus i times down) point along the ray from the edges' centre."""
    rows, columns = np.mgrid[0 : energy.shape[0], 0 : energy.shape[1]]
    ray = columns - (energy * columns).sum() / total - 1j * (rows - (energy * rows).sum() / total)
    along = (unit * np.conj(ray / np.maximum(np.abs(ray), 1e-9))).real
    return float((energy * along**2).sum()) / total


def _fineness(luminance: FloatArray, weights: FloatArray) -> float:
    mean = (weights * luminance).sum()
    variance = float((weights * (luminance - mean) ** 2).sum())
    rest = float((weights * (luminance - blur(luminance, 3)) ** 2).sum())
    return min(1.0, rest / variance) if variance > 1e-9 else 0.0


def _centre(weights: FloatArray) -> tuple[float, float]:
    rows, columns = (np.arange(length) + 0.5 for length in weights.shape)
    row = float(weights.sum(axis=1) @ rows / len(rows))
    return row, float(weights.sum(axis=0) @ columns / len(columns))
