"""Statistics of answers: intervals of a share, agreement of raters.

Owns these formulas. Must not know questions, files or raters' names.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

Z_95 = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""


def wilson(rate: float, n: int, z: float = Z_95) -> tuple[float, float]:
    """Return Wilson's score interval of a share.

    Parameters
    ----------
    rate : float
        Share observed, 0 to 1; it may be a mean of shares.
    n : int
        Of how many independent trials; of none the interval is all from 0 to 1.
    z : float
        Standard deviations on each side.
    """
    if n == 0:
        return 0.0, 1.0
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def krippendorff_alpha(units: Sequence[Sequence[Hashable]]) -> float | None:
    """Return Krippendorff's alpha for nominal values.

    Parameters
    ----------
    units : sequence of sequences
        For each thing judged the values that it got, one for each rater who judged it, in any order.

    Returns
    -------
    float or None
        1 where all agree, 0 where they agree as by chance, less where they disagree; None where no unit has two values
        or where there is one value only, of which nothing can be told.
    """
    paired = [Counter(unit) for unit in units if len(unit) > 1]
    totals: Counter[Hashable] = sum(paired, Counter())
    n = totals.total()
    expected = n * n - sum(count * count for count in totals.values())
    if expected == 0:
        return None
    observed = sum(
        (unit.total() ** 2 - sum(count * count for count in unit.values())) / (unit.total() - 1) for unit in paired
    )
    return 1.0 - (n - 1) * observed / expected
