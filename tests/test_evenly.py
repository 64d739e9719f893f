import numpy as np
import pytest

from precompute.atlas.evenly import spread_evenly
from precompute.images.listing import Listing, Sample, make_sample_set, no_labels
from precompute.naming.held_out import choose_positives
from precompute.stages.cost_preview import N_SAMPLED, sampled


@pytest.mark.parametrize(
    ("n_items", "n_chosen", "chosen"),
    [(10, 3, [0, 3, 6]), (2, 5, [0, 1]), (4, 4, [0, 1, 2, 3]), (0, 3, []), (7, 0, []), (1, 1, [0])],
)
def test_a_few_of_many(n_items, n_chosen, chosen):
    assert spread_evenly(n_items, n_chosen) == chosen


def test_classes_of_one_size_get_equally_many():
    for n_classes in (2, 7, 12):
        for each in (1, 3, 5):
            labels = np.repeat(np.arange(n_classes), 60)[spread_evenly(60 * n_classes, each * n_classes)]
            assert np.bincount(labels).tolist() == [each] * n_classes


def test_samples_and_requests_are_spread_alike(tmp_path):
    samples = [Sample(f"{index}.png", 1) for index in range(100)]
    kept = make_sample_set(Listing(tmp_path, samples), no_labels(100), (), limit=N_SAMPLED)
    assert list(kept.names) == [samples[index].name for index in spread_evenly(100, N_SAMPLED)]
    assert sampled(list(range(100))) == spread_evenly(100, N_SAMPLED)


def test_held_out_quantiles_are_spread_alike():
    from precompute.records import Concept
    from tests.test_scoring import references

    later = references(Concept("c", 0), 40, "actmax")
    chosen = choose_positives((), later, 4, max_seen=8)
    assert [reference.rank for reference in chosen] == [8 + place for place in spread_evenly(32, 4)]
