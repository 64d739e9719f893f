"""The contests' measure of agreement can fail."""

import dataclasses

import numpy as np
import pytest

from benchmarks import gpu_end_to_end, mining
from tests.test_store import make_atlas


def table(order):
    """Make a mined table of one channel whose samples are in the given order."""
    index = np.array(order)[:, None]
    return {"relmax/0": (index, np.linspace(1, 0.1, len(order))[:, None], np.zeros_like(index))}


@pytest.mark.parametrize(("n_images", "expected"), [(2, 1), (16, 2), (64, 8), (706, 40)])
def test_few_entries_are_compared_beside_the_images(n_images, expected):
    assert mining.n_compared(n_images) == expected


def test_another_order_of_as_many_images_as_places_is_no_agreement():
    there, reverse = table(range(16)), table(range(15, -1, -1))
    k = mining.n_compared(16)
    assert mining.compare(there, there, "relmax", k)[0] == 1
    assert mining.compare(reverse, there, "relmax", k)[0] == 0


def test_the_entries_kept_between_precisions_are_counted():
    atlas = make_atlas()
    n_kept, n_entries = gpu_end_to_end.kept(atlas, atlas, 2)
    assert n_kept == n_entries > 0
    layers = {
        name: dataclasses.replace(
            tables, relmax=dataclasses.replace(tables.relmax, sample_index=tables.relmax.sample_index + 1000)
        )
        for name, tables in atlas.layers.items()
    }
    fewer, same = gpu_end_to_end.kept(dataclasses.replace(atlas, layers=layers), atlas, 2)
    assert (same, fewer < n_kept) == (n_entries, True)
