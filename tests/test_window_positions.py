"""Windows cut all at once, as a GPU does, are those cut one by one."""

import pytest
import torch

from precompute.relevance.neuron_heatmaps import _cut, _positions


def test_windows_cut_by_index_are_those_cut_one_by_one():
    frames = torch.randn(3, 5, 9, 8).contiguous(memory_format=torch.channels_last)
    rows, origins, size = [2, 0, 2, 1], [(0, 0), (4, 3), (1, 5), (6, 2)], (3, 2)
    by_index = frames.movedim(1, 3)[_positions(rows, origins, size, frames.device)].movedim(3, 1)
    assert torch.equal(by_index, _cut(frames, rows, origins, size))
    assert by_index.is_contiguous(memory_format=torch.channels_last)
    pasted = torch.zeros(4, 9, 8)
    windows = torch.randn(4, *size)
    pasted[_positions(range(4), origins, size, frames.device)] = windows
    for row, (top, left) in enumerate(origins):
        assert torch.equal(pasted[row, top : top + 3, left : left + 2], windows[row])
        assert pasted[row].count_nonzero() == 6


def test_threads_with_windows_of_their_own_give_what_one_gives_and_leave_the_number_as_it_was():
    from precompute.config import RelevanceConfig
    from precompute.relevance.engine import GraphEngine
    from precompute.relevance.neuron_heatmaps import _run_side_by_side
    from precompute.relevance.protocol import ReferenceRequest
    from tests import nets

    torch.manual_seed(0)
    net = nets.randomise(nets.plain())
    shape = (3, 16, 16)
    config = RelevanceConfig(precision="float64")
    engine = GraphEngine(net, ["2", "5"], config, shape, torch.device("cpu"))
    images = torch.randn(3, *shape, dtype=torch.float64)
    requests = [ReferenceRequest(i % 3, "25"[i % 2], i % 8, 5 * i % 64) for i in range(24)]
    before, found = torch.get_num_threads(), {}
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            found[n_threads] = engine.reference_heatmaps(images, requests)
            assert torch.get_num_threads() == n_threads

        def fail():
            raise MemoryError("one batch")

        with pytest.raises(MemoryError, match="one batch"):
            _run_side_by_side([lambda: None, fail, lambda: None], 2)
    finally:
        torch.set_num_threads(before)
    assert found[1].abs().amax((1, 2)).max() > 0
    assert (found[1] - found[3]).abs().max() <= 1e-13 * found[1].abs().max()
