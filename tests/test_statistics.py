"""Statistics are exact under any order of merging, and histograms count everything once."""

import numpy as np
import torch

from precompute.mining.statistics import N_BINS, QUANTUM_NORMALISED, add_class_sums, add_histogram, histogram_edges


def test_class_sums_do_not_depend_on_the_order_and_are_right():
    generator = torch.Generator().manual_seed(0)
    score = torch.rand(500, 6, dtype=torch.float64, generator=generator) * 2 - 1
    target = torch.randint(0, 3, (500,), generator=generator)
    sums = []
    for order in (torch.arange(500), torch.arange(499, -1, -1), torch.randperm(500, generator=generator)):
        total = torch.zeros(3, 6, dtype=torch.float64)
        for part in order.split(17):
            partial = torch.zeros(3, 6, dtype=torch.float64)
            add_class_sums(partial, score[part], target[part], QUANTUM_NORMALISED)
            total += partial
        sums.append(total)
    assert torch.equal(sums[0], sums[1])
    assert torch.equal(sums[0], sums[2])
    expected = torch.stack([score[target == index].sum(0) for index in range(3)])
    assert (sums[0] - expected).abs().max() < 500 * QUANTUM_NORMALISED


def test_histograms_count_every_score_in_its_bin():
    edges = histogram_edges(True)
    score = np.array([[-1.0], [-1e-9], [0.0], [1e-9], [0.5], [1.0]])
    counts = torch.zeros(1, N_BINS, dtype=torch.int64)
    add_histogram(counts, torch.from_numpy(score), torch.from_numpy(edges))
    expected, _ = np.histogram(score, edges)
    np.testing.assert_array_equal(counts[0].numpy(), expected)


def test_scores_beyond_the_edges_count_in_the_outermost_bins():
    counts = torch.zeros(1, N_BINS, dtype=torch.int64)
    add_histogram(counts, torch.tensor([[1e30], [-1e30]]), torch.from_numpy(histogram_edges(False)))
    assert counts[0, 0] == 1
    assert counts[0, -1] == 1
    assert counts.sum() == 2
