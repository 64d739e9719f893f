"""Streaming top-k equals a full sort, ties included, however the samples are cut."""

import numpy as np
import pytest
import torch

from precompute.mining.top_samples import from_table, merge, to_table, top_of_batch
from precompute.records import MISSING


def full_sort(score, neuron, k):
    index = np.arange(len(score))
    order = np.stack([np.lexsort((index, -score[:, channel])) for channel in range(score.shape[1])], axis=1)[:k]
    return order, np.take_along_axis(score, order, 0), np.take_along_axis(neuron, order, 0)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 50])
def test_any_batching_equals_a_full_sort_with_ties(batch_size):
    rng = np.random.default_rng(0)
    score = rng.integers(-3, 4, (50, 9)) / 2.0
    neuron = rng.integers(0, 100, (50, 9))
    top = None
    for start in range(0, 50, batch_size):
        part = slice(start, start + batch_size)
        batch = top_of_batch(*map(torch.from_numpy, (score[part], neuron[part], np.arange(50)[part])), 8)
        top = merge(top, batch, 8)
    table = to_table(top, 8)
    for found, expected in zip(
        (table.sample_index, table.score, table.neuron), full_sort(score, neuron, 8), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_fewer_samples_than_k_are_filled_up_and_merge_again():
    top = top_of_batch(torch.tensor([[1.0], [2.0]]), torch.tensor([[5], [6]]), torch.tensor([10, 11]), 4)
    table = to_table(top, 4)
    assert table.sample_index[:, 0].tolist() == [11, 10, MISSING, MISSING]
    assert table.score[:, 0].tolist() == [2, 1, 0, 0]
    later = top_of_batch(torch.tensor([[2.0]]), torch.tensor([[7]]), torch.tensor([12]), 4)
    assert to_table(merge(from_table(table), later, 4), 4).sample_index[:, 0].tolist() == [11, 12, 10, MISSING]


def test_negative_scores_rank_above_the_filling():
    top = top_of_batch(torch.tensor([[-5.0], [-1.0]]), torch.tensor([[0], [0]]), torch.tensor([0, 1]), 3)
    assert from_table(to_table(top, 3)).score.tolist() == [[-1.0, -5.0]]
