"""Windows cut all at once, as a GPU does, are those cut one by one."""

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
