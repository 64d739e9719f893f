"""Inline SVG charts. Owns their geometry; colours come from the style sheet. Must not know records or pages."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from precompute.printing.numbers import count, significant

N_BARS = 64
WIDTH = 640
HEIGHT = 130
BASE = 108


def histogram(counts: Sequence[int], edges: Sequence[float], title: str) -> Markup:
    """Draw counts per bin on a logarithmic scale, trimmed to the bins in use.

    Parameters
    ----------
    counts : (n_bins,) int
    edges : (n_bins + 1,) float
    title : str
        For people who do not see the chart; escaped here.

    Returns
    -------
    Markup
        An SVG element; empty where nothing was counted.
    """
    used = [index for index, value in enumerate(counts) if value]
    if not used:
        return Markup("")
    counts, edges = _trimmed(counts, edges, used[0], used[-1] + 1)
    tallest = max(counts)
    bars = [
        _bar(index, math.log1p(value) / math.log1p(tallest), len(counts)) for index, value in enumerate(counts) if value
    ]
    label = f"{title}: {count(sum(counts))} samples between {significant(edges[0])} and {significant(edges[-1])}"
    return Markup(
        '<svg class="histogram" viewBox="0 0 {} {}" role="img" aria-label="{}" preserveAspectRatio="none">'
        '<path class="bars" d="{}"/>{}<path class="axis" d="M0 {}H{}"/></svg>'
    ).format(WIDTH, BASE + 2, label, Markup("".join(bars)), _zero_line(edges), BASE, WIDTH)


def width(fraction: float) -> str:
    """Write the length of a bar for a style sheet, kept between 0 and 100 %."""
    bounded = min(max(fraction, 0.0), 1.0) if math.isfinite(fraction) else 0.0
    return f"{100 * bounded:.2f}%"


def is_even(edges: Sequence[float]) -> bool:
    """Tell whether all bins are equally wide."""
    widths = [high - low for low, high in pairwise(edges)]
    return not widths or max(widths) <= 1.001 * min(widths)


def histogram_ends(counts: Sequence[int], edges: Sequence[float]) -> tuple[float, float]:
    """Return the values at the two ends of the drawn axis; nan where nothing was counted."""
    used = [index for index, value in enumerate(counts) if value]
    if not used:
        return math.nan, math.nan
    _, trimmed = _trimmed(counts, edges, used[0], used[-1] + 1)
    return trimmed[0], trimmed[-1]


def _trimmed(counts: Sequence[int], edges: Sequence[float], start: int, stop: int) -> tuple[list[int], list[float]]:
    """Cut to the bins in use and join neighbours so that at most `N_BARS` remain."""
    group = max(1, math.ceil((stop - start) / N_BARS))
    stop = min(len(counts), start + group * math.ceil((stop - start) / group))
    bounds = [*range(start, stop, group), stop]
    joined = [int(sum(counts[low:high])) for low, high in pairwise(bounds)]
    return joined, [float(edges[bound]) for bound in bounds]


def _bar(index: int, fraction: float, n_bars: int) -> str:
    step = WIDTH / n_bars
    gap = min(1.5, step / 5)
    height = max(1.5, fraction * (BASE - 4))
    left = _coordinate(index * step + gap / 2)
    return f"M{left} {BASE}v-{_coordinate(height)}h{_coordinate(step - gap)}V{BASE}z"


def _zero_line(edges: Sequence[float]) -> Markup:
    """Mark zero, which lies inside a bin where the edges are symmetric; bins are drawn equally wide."""
    if not edges[0] < 0 < edges[-1]:
        return Markup("")
    index = bisect_right(edges, 0.0) - 1
    inside = -edges[index] / (edges[index + 1] - edges[index])
    x = _coordinate(WIDTH * (index + inside) / (len(edges) - 1))
    return Markup('<path class="zero" d="M{} 0V{}"/>').format(x, BASE)


def _coordinate(value: float) -> str:
    """Write an SVG coordinate, short and always the same."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
