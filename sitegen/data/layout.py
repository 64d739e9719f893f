"""Where concepts lie on the map: a layout in the plane in which near means relevant for the same things.

Owns what two concepts are compared by, and the layout: neighbours attract, all others repel, from a fixed seed. It is a
picture for finding one's way and no result: distances between far groups mean nothing. Must not know pages.
"""

from __future__ import annotations

import numpy as np

from precompute.records import MISSING, Atlas, Concept, FloatArray, IntArray

N_NEIGHBOURS, N_EPOCHS, N_REPELLED = 10, 110, 3
SPREAD = 0.6
"""How far coordinates are evened out: 1 is one step for each concept, 0 leaves empty what the layout leaves empty."""
N_SAMPLE_AXES, N_BEST = 48, 8
SIDE = 10_000
"""Coordinates are whole numbers from 0 to this."""
SEED = 20_260_102
_BLOCK = 1024


def lay_out(atlas: Atlas) -> dict[Concept, tuple[int, int]]:
    """Lay out every concept that carries relevance for some class.

    Returns
    -------
    dict of Concept to (int, int)
        x and y, 0 to `SIDE`; silent concepts have none.
    """
    concepts, profiles = [], []
    rng = np.random.default_rng(SEED)
    axes = rng.standard_normal((len(atlas.samples.name) + 1, N_SAMPLE_AXES)) / np.sqrt(N_SAMPLE_AXES)
    axes[-1] = 0  # where `MISSING` points
    counts = np.maximum(atlas.class_counts, 1)[:, None]
    for layer, tables in atlas.layers.items():
        means = (tables.class_relevance / counts).T
        best = tables.relmax.sample_index[:N_BEST]
        best = np.where((best == MISSING) | (best >= len(axes) - 1), len(axes) - 1, best)
        told = np.flatnonzero(means.any(axis=1))
        concepts += [Concept(layer, channel) for channel in told.tolist()]
        profiles.append(np.hstack([_unit(means[told]), _unit(axes[best].sum(axis=0)[told])]))
    if len(concepts) < 3:
        return dict.fromkeys(concepts, (SIDE // 2, SIDE // 2))
    places = _untangled(_unit(np.vstack(profiles)), rng)
    low, high = places.min(axis=0), places.max(axis=0)
    even = places.argsort(axis=0, kind="stable").argsort(axis=0) / (len(places) - 1)
    spread = SPREAD * even + (1 - SPREAD) * (places - low) / np.maximum(high - low, 1e-9)
    whole = np.rint(spread * SIDE).astype(int).tolist()
    return {concept: (x, y) for concept, (x, y) in zip(concepts, whole, strict=True)}


def _unit(rows: FloatArray) -> FloatArray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0))


def nearest(profiles: FloatArray, n: int) -> IntArray:
    """Return the n most similar others of each row, (n_rows, n), by cosine; equal ones by index."""
    found = []
    rows = profiles.astype(np.float32)
    for start in range(0, len(rows), _BLOCK):
        alike = np.round(rows[start : start + _BLOCK] @ rows.T, 4)
        alike[np.arange(len(alike)), np.arange(start, start + len(alike))] = -2
        part = np.argpartition(-alike, n - 1, axis=1)[:, :n]
        found.append(np.sort(part, axis=1))
    return np.vstack(found)


def _untangled(profiles: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Start from the first two principal axes, then pull neighbours together and push random others away."""
    n = len(profiles)
    centred = profiles - profiles.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, :-3:-1]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1, 1)
    places = centred @ axes
    places = places / np.maximum(places.std(axis=0), 1e-9) * 4 + rng.normal(0, 0.05, (n, 2))
    others = nearest(profiles, min(N_NEIGHBOURS, n - 1))
    heads, tails = np.repeat(np.arange(n), others.shape[1]), others.ravel()
    for epoch in range(N_EPOCHS):
        rate = 1 - epoch / N_EPOCHS
        apart = places[heads] - places[tails]
        square = (apart**2).sum(axis=1, keepdims=True)
        pull = -apart / (1 + square) * 0.4
        move = _summed(heads, pull, n) - _summed(tails, pull, n) - 0.02 * places
        for _ in range(N_REPELLED):
            far = places - places[rng.permutation(n)]
            square = (far**2).sum(axis=1, keepdims=True)
            move += far / ((0.05 + square) * (1 + square)) * 0.9
        places = places + rate * np.clip(move, -1, 1)
    return np.asarray(places)


def _summed(at: IntArray, values: FloatArray, n: int) -> FloatArray:
    return np.stack([np.bincount(at, values[:, axis], n) for axis in (0, 1)], axis=1)
