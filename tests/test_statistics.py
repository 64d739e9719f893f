"""Statistics are exact under any order of merging, and histograms count everything once."""

import numpy as np
import torch

from precompute.mining.statistics import (
    N_BINS,
    QUANTUM_NORMALISED,
    add_class_sums,
    add_histogram,
    histogram_edges,
    joined_shares,
    large_shares,
    largest_of_samples,
)
from precompute.records import LARGE_SHARE


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


def shares_in_parts(shares, *lengths):
    """Cut samples into batches and gather what is large of them."""
    parts, start = [], 0
    for length in lengths:
        score = torch.from_numpy(shares[start : start + length])
        parts.append((torch.arange(start, start + length), *largest_of_samples(score)))
        start += length
    return large_shares(parts)


def test_every_large_share_is_kept_once_however_samples_are_batched():
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], (40, 60))
    shares = np.concatenate([rng.dirichlet(np.full(60, 0.1), 40) * signs, np.full((2, 60), 1 / 60)])
    shares[0] = np.repeat([LARGE_SHARE, 0.0], [20, 40])  # as many as there can be, each at the threshold
    whole = shares_in_parts(shares, 42)
    sample, channel = np.nonzero(np.abs(shares) >= LARGE_SHARE)
    np.testing.assert_array_equal(whole.sample_index, sample)
    np.testing.assert_array_equal(whole.channel, channel)
    np.testing.assert_allclose(whole.share, shares[sample, channel], rtol=0, atol=QUANTUM_NORMALISED)
    assert (whole.share < 0).sum() > 20
    first, later = shares_in_parts(shares[:17], 5, 12), shares_in_parts(shares[17:], 24, 1)
    later.sample_index[:] += 17
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(value, getattr(joined_shares(first, later), name))


def test_a_layer_of_few_channels_and_no_samples_at_all_have_their_shares():
    assert shares_in_parts(np.array([[0.5, -0.5], [0.03125, 0.96875]]), 2).share.tolist() == [0.5, -0.5, 0.96875]
    assert large_shares([]).share.size == 0
