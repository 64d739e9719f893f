"""Drawn pictures whose name everybody knows, to find out before a long run whether a model can name pictures at all.

Owns what is drawn and which words show that it was seen. Must not know models, servers or stages.
"""

from __future__ import annotations

import numpy as np

from precompute.images.pictures import render_reference
from precompute.records import Box, Concept, Reference

from .namer import ConceptEvidence

SEEN = ("red", "disc", "disk", "circle", "dot", "ball", "round", "spot", "rot", "kreis", "scheibe", "rund")
"""A model that sees the pictures uses one of these words."""


def trial_evidence(side: int, n_references: int, tile: int) -> ConceptEvidence:
    """Draw a red disc on grey, at another place in each picture, as many and as large as the references to come.

    Parameters
    ----------
    side : int
        Of the preprocessed input in pixels.
    n_references : int
        In each ranking.
    tile : int
        Longer side of a stored picture in pixels.
    """
    concept = Concept("trial", 0)
    relmax = tuple(_reference(concept, rank, side, tile) for rank in range(n_references))
    return ConceptEvidence(concept, relmax, relmax)


def _reference(concept: Concept, rank: int, side: int, tile: int) -> Reference:
    place = np.random.default_rng(rank).uniform(0.3, 0.7, 2) * side
    rows, columns = np.mgrid[0:side, 0:side]
    inside = np.hypot(rows - place[0], columns - place[1]) < side / 8
    image = np.where(inside[..., None], np.array([200, 20, 20]), 120 + 8 * (rank % 5)).astype(np.uint8)
    reach = side / 5
    top, left = (max(int(centre - reach), 0) for centre in place)
    bottom, right = (min(int(centre + reach) + 1, side) for centre in place)
    pictures = render_reference(image, inside.astype(np.float64), Box(top, left, bottom, right), tile)
    return Reference(concept, "relmax", rank, rank, -1, 1.0, *pictures)
