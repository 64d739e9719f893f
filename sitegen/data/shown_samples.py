"""Which samples the site shows as reference images, and under which class each stands.

Owns that choice, which pages and pictures share. Must not know either.
"""

from __future__ import annotations

import numpy as np

from precompute.records import MISSING, RANKINGS, Atlas


def shown_samples(atlas: Atlas, n_gallery: int) -> dict[int, int]:
    """Choose the samples that the first `n_gallery` entries of some ranking show.

    Returns
    -------
    dict of int to int
        The class by sample index, as of `class_of`, in ascending order.
    """
    shown = [np.empty(0, np.int64)]
    for tables in atlas.layers.values():
        for ranking in RANKINGS:
            table = tables.ranking(ranking)
            telling = table.telling(n_gallery)
            shown.append(table.sample_index[: len(telling)][telling])
    n_samples = len(atlas.samples.name)
    return {
        sample: class_of(atlas, sample) for sample in np.unique(np.concatenate(shown)).tolist() if sample < n_samples
    }


def class_of(atlas: Atlas, sample_index: int) -> int:
    """Return the class under which a sample stands: its label, else its prediction, else `MISSING`."""
    label = int(atlas.samples.label[sample_index])
    return label if label != MISSING else int(atlas.samples.prediction[sample_index])
