"""Which few stand for many: the one way to spread a choice evenly over an order.

Must not know what is chosen.
"""

from __future__ import annotations


def spread_evenly(n_items: int, n_chosen: int) -> list[int]:
    """Choose positions in an order; of stretches of equal length each gets its equal part.

    Data sets are ordered by class, so a choice of as many as there are classes of one size takes one of each. 3 of 10
    are 0, 3 and 6.

    Parameters
    ----------
    n_items : int
        Length of the order.
    n_chosen : int
        How many to choose; as many as there are, or more, chooses all.

    Returns
    -------
    list of int
        Increasing positions, each once.
    """
    if n_chosen >= n_items:
        return list(range(n_items))
    return [place * n_items // n_chosen for place in range(n_chosen)]
