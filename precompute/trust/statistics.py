"""The statistics that trust rests on: rank correlation, areas under curves, errors of a sample, corrected p-values.

Owns these formulas. Must not know networks, records or files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from precompute.records import FloatArray, IntArray


def mean_and_error(values: FloatArray) -> tuple[float, float]:
    """Return the mean of (n,) values and its standard error; 0 where there is one value."""
    n = len(values)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0


def ranks(values: FloatArray) -> FloatArray:
    """Return the ranks of (n,) values from 0, those of equal values averaged."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    first = np.cumsum(counts) - counts
    return np.asarray((first + (counts - 1) / 2)[inverse], np.float64)


def rank_correlation(first: FloatArray, second: FloatArray) -> float | None:
    """Return Spearman's rank correlation of two (n,) arrays; None where one of them is constant."""
    if len(first) < 2:
        return None
    a, b = ranks(first), ranks(second)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return min(1.0, max(-1.0, float((a * b).sum()) / scale)) if scale > 0 else None


def area(counts: Sequence[int], curves: FloatArray) -> FloatArray:
    """Return the mean height of each of (n, n_points) curves over `counts`, by the trapezoidal rule."""
    widths = np.diff(np.asarray(counts, np.float64))
    heights = (curves[:, 1:] + curves[:, :-1]) / 2
    return np.asarray((heights * widths).sum(1) / widths.sum())


def benjamini_hochberg(p_values: FloatArray) -> FloatArray:
    """Return the q-value of each of (m,) p-values: the share of false findings among all at least as sure."""
    m = len(p_values)
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * m / np.arange(1, m + 1)
    least = np.minimum.accumulate(scaled[::-1])[::-1]
    q_values = np.empty(m)
    q_values[order] = np.minimum(least, 1.0)
    return q_values


def spread_over_classes(classes: IntArray, n: int) -> list[int]:
    """Choose n positions whose classes take turns, spread evenly within each class; negative classes are left out.

    Where there are more classes than n, n of them are chosen, spread evenly.
    """
    known = sorted({int(value) for value in classes if value >= 0})
    if len(known) > n:
        known = [known[place * len(known) // n] for place in range(n)]
    if not known or n <= 0:
        return []
    members = [np.flatnonzero(classes == value) for value in known]
    wanted = -(-n // len(known))
    while True:
        chosen = [part[(np.arange(min(wanted, len(part))) * len(part)) // min(wanted, len(part))] for part in members]
        if sum(map(len, chosen)) >= n or all(len(part) <= wanted for part in members):
            break
        wanted += 1
    turns = [int(part[turn]) for turn in range(max(map(len, chosen))) for part in chosen if turn < len(part)]
    return sorted(turns[:n])
