"""What the looks and places of a concept's reference images have in common.

Owns the thresholds from measures to words. Must not know labels, rankings or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from precompute.images.places import place_words
from precompute.printing import numbers
from precompute.records import BoolArray, FloatArray

from .appearance import COLOURS, Appearance, distances_to_median, stripe_direction

MARK_REFERENCES = 4
MARK_AREA = 0.12
MARK_SPREAD = 0.1
MARK_RATE = 0.75
MARK_OFF_CENTRE = 0.22
MARK_CORNER = 0.28
MARK_LABEL_RATE = 0.7
"""A mark: this many references or more, a crop below this part of the photo, this share of them within this distance
of the median place (in sides of the photo), that place this far from the middle."""

PLACE_RATE = 0.75
"""A place is told that this share of the references have."""

COLOUR_PRIOR = np.array([0.139, 0.291, 0.108, 0.023, 0.021, 0.212, 0.039, 0.075, 0.079, 0.003, 0.010])
"""Shares of the colour terms in whole photos: measured on 706 photos of ImageNet, one per class."""

COLOUR_LIFT = 0.15
COLOUR_SHARE = 0.3
COLOUR_RATE = 0.6
STRIPES = 0.42
PARALLEL = 0.58
SQUARE = 0.3
ROUND = 0.68
RAYS = 0.36
TURNED = 0.45
"""Roundness from which a spot is round and up to which edges are rays, with edges less parallel than `TURNED`: measured
on the built-in world, where eyes and lamps lie above the first, spoked wheels below the second."""

SHAPES = (
    *("area", "round spot", "rays from a centre", "horizontal edges", "vertical edges", "diagonal edges"),
    *("parallel edges", "upright and level edges", "slanted edges"),
    *("fine-grained texture", "smooth area", "bright area", "dark area"),
)
"""All that a description can say of form."""

CORNER = "corner"
"""The place of a mark that lies in one corner or another."""

FINE = 0.17
SMOOTH = 0.055
BRIGHT = 0.62
DARK = 0.25


@dataclass(frozen=True)
class Trait:
    """One thing that the references share.

    Attributes
    ----------
    words : str
        As it appears in a name.
    strength : float
        Above chance, 0 to 1.
    sentence : str
        The figures.
    outliers : tuple of int
        Positions of references without it.
    terms : tuple of str
        The same as the terms it is made of, for other languages: colours, a shape, or a place (`place_words`, or
        `CORNER`).
    """

    words: str
    strength: float
    sentence: str
    outliers: tuple[int, ...] = ()
    terms: tuple[str, ...] = ()


def find_mark(appearances: Sequence[Appearance], label_rate: float) -> Trait | None:
    """Find a small area at the same off-centre place of most photos, or in their corners.

    Parts of objects move with the objects; what sticks to the frame was put there. Away from the corners an object
    that all photos frame alike would look the same, so there the labels have to vary.

    Parameters
    ----------
    appearances : sequence of Appearance
    label_rate : float
        Share of the labels that agree.
    """
    area = float(np.median([appearance.area for appearance in appearances]))
    # Channels that see the padding fire at the frame too, but there is nothing to be seen.
    if len(appearances) < MARK_REFERENCES or area > MARK_AREA or _mean(appearances, "contrast") <= SMOOTH:
        return None
    centres = np.array([(appearance.row, appearance.column) for appearance in appearances])
    row, column = (float(value) for value in np.median(centres, axis=0))
    near = distances_to_median(centres) <= MARK_SPREAD
    if (
        label_rate < MARK_LABEL_RATE
        and near.mean() >= MARK_RATE
        and max(abs(row - 0.5), abs(column - 0.5)) >= MARK_OFF_CENTRE
    ):
        where = place_words(row, column, area)
        return _mark(f"at {where}", where, near, area)
    # Folded along both middles, the four corners are one place.
    folded = np.abs(centres - 0.5)
    near = distances_to_median(folded) <= MARK_SPREAD
    if near.mean() >= MARK_RATE and np.median(folded, axis=0).min() >= MARK_CORNER:
        return _mark("in a corner", CORNER, near, area)
    return None


def _mark(where: str, term: str, near: BoolArray, area: float) -> Trait:
    sentence = (
        f"In {near.sum()} of {len(near)} references the crop lies {where} "
        f"and covers {numbers.percent(area)} of the photo."
    )
    outliers = tuple(np.flatnonzero(~near).tolist())
    return Trait(f"small mark {where}", float(near.mean()) * 0.9, sentence, outliers, (term,))


def find_place(appearances: Sequence[Appearance]) -> Trait | None:
    """Find the same part of most photos, the middle aside: there lies what photos are of, whatever a channel sees."""
    places = [place_words(seen.row, seen.column, seen.area) for seen in appearances]
    most = max(dict.fromkeys(places), key=places.count)
    rate = places.count(most) / len(places)
    if len(places) < MARK_REFERENCES or rate < PLACE_RATE or most not in _PLACES:
        return None
    outliers = tuple(position for position, place in enumerate(places) if place != most)
    sentence = f"{places.count(most)} of {len(places)} references lie {_PLACES[most]}."
    return Trait(_PLACES[most], rate, sentence, outliers, (most,))


_PLACES = {
    "upper left": "in the upper left",
    "upper centre": "at the top",
    "upper right": "in the upper right",
    "centre left": "on the left",
    "centre right": "on the right",
    "lower left": "in the lower left",
    "lower centre": "at the bottom",
    "lower right": "in the lower right",
}


def find_colour(appearances: Sequence[Appearance]) -> Trait | None:
    """Find one or two colours that the visible parts share, beyond what whole photos have."""
    shares = np.array([appearance.colours for appearance in appearances])
    mean = shares.mean(axis=0)
    rate = (shares > np.maximum(COLOUR_PRIOR, 0.2)).mean(axis=0)
    strong = (mean >= COLOUR_SHARE) & (mean - COLOUR_PRIOR >= COLOUR_LIFT) & (rate >= COLOUR_RATE)
    order = [int(index) for index in np.argsort(-(mean - COLOUR_PRIOR), kind="stable") if strong[index]][:2]
    if not order:
        return None
    best = order[0]
    sentence = " ".join(
        f"{COLOURS[index].capitalize()}: {numbers.percent(mean[index])} of the visible pixels, "
        f"{numbers.percent(COLOUR_PRIOR[index])} in photos at large."
        for index in order
    )
    lift = float((mean[best] - COLOUR_PRIOR[best]) / (1 - COLOUR_PRIOR[best]))
    outliers = tuple(np.flatnonzero(shares[:, order].sum(axis=1) < 0.1).tolist())
    terms = tuple(COLOURS[index] for index in order)
    return Trait(" and ".join(terms), lift * float(rate[best]), sentence, outliers, terms)


def find_texture(appearances: Sequence[Appearance]) -> Trait | None:
    """Find the most telling of: a round spot, rays, edges in one direction, grain, smoothness, brightness, darkness."""
    found = _find_turned(appearances) or _find_edges(appearances) or _find_grain(appearances)
    return replace(found, terms=(found.words,)) if found else None


def _find_turned(appearances: Sequence[Appearance]) -> Trait | None:
    roundness = _mean(appearances, "roundness")
    parallel = float(np.mean([abs(appearance.stripes) for appearance in appearances]))
    if _mean(appearances, "contrast") <= SMOOTH or parallel >= TURNED or RAYS < roundness < ROUND:
        return None
    outliers = [place for place, seen in enumerate(appearances) if abs(seen.roundness - roundness) > 0.25]
    sentence = (
        f"{numbers.percent(roundness)} of the edges' strength lies across the ray from their centre: "
        f"{'round' if roundness >= ROUND else 'rays'} (50 % by chance)."
    )
    words = "round spot" if roundness >= ROUND else "rays from a centre"
    return Trait(words, abs(roundness - 0.5) * 2, sentence, tuple(outliers))


def _find_edges(appearances: Sequence[Appearance]) -> Trait | None:
    stripes = [appearance.stripes for appearance in appearances]
    common, each = float(abs(np.mean(stripes))), float(np.mean(np.abs(stripes)))
    squareness = _mean(appearances, "squareness")
    if _mean(appearances, "contrast") <= SMOOTH:
        return None
    if common >= STRIPES:
        direction = stripe_direction(complex(np.mean(stripes)))
        direction = "diagonal" if direction in ("rising", "falling") else direction
        sentence = f"Edges run {direction}ly with coherence {numbers.fixed(common)} over all references (from 0 to 1)."
        return Trait(f"{direction} edges", common, sentence)
    if each >= PARALLEL:
        sentence = f"Edges run in parallel within a reference, with coherence {numbers.fixed(each)}; directions differ."
        return Trait("parallel edges", each * 0.8, sentence)
    if abs(squareness) >= SQUARE:
        words = "upright and level edges" if squareness > 0 else "slanted edges"
        sentence = (
            f"Edges are {words.removesuffix(' edges')}: {numbers.fixed(squareness)} between −1 (slanted) "
            "and 1 (upright, level)."
        )
        return Trait(words, abs(squareness), sentence)
    return None


def _find_grain(appearances: Sequence[Appearance]) -> Trait | None:
    fineness, contrast, brightness = (_mean(appearances, name) for name in ("fineness", "contrast", "brightness"))
    if fineness >= FINE and contrast >= 2 * SMOOTH:
        sentence = f"Fine detail makes up {numbers.percent(fineness)} of the brightness variance."
        return Trait("fine-grained texture", min(0.7, fineness * 2), sentence)
    if contrast <= SMOOTH:
        sentence = f"The brightness changes by {numbers.percent(contrast)} of its range per pixel: smooth."
        return Trait("smooth area", min(0.7, 1.3 - contrast / SMOOTH), sentence)
    if brightness >= BRIGHT or brightness <= DARK:
        word = "bright" if brightness >= BRIGHT else "dark"
        return Trait(f"{word} area", 0.25, f"The mean brightness is {numbers.percent(brightness)} of its range.")
    return None


def _mean(appearances: Sequence[Appearance], measure_name: str) -> float:
    values: FloatArray = np.array([getattr(appearance, measure_name) for appearance in appearances])
    return float(values.mean())
