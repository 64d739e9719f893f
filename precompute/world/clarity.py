"""What makes the channels of the world's network detectors of parts while it is trained; dropped afterwards.

Owns the part heads, the relevance that is kept inside the parts, and the shrinking of filters. Must not know scenes.
All of it is allowed here, and only here: the world exists to have known truth, and `docs/world.md` tells the reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from .network import BLOCK_ENDS

GRID = 32
"""Side of the maps that tell where the parts are: the resolution of block 3."""
_BLOCK3 = 10
"""Position in `features` of the first layer of block 3, where the relevance is looked at."""
_LEAK = 0.1
_COVERAGE_GAIN = 1.5
"""A cell counts as fully covered by a part from two thirds of its area on."""


@dataclass(frozen=True, eq=False)
class Trace:
    """One forward pass through the features, with what the losses need of it.

    Attributes
    ----------
    output : (n, n_channels, height, width) float32
    maps : dict of str to tensor
        Activations at the end of a block, by block.
    detectors : dict of str to tensor
        The same with a leak below zero, so that a channel that fell silent still learns.
    steps : list of (layer, input, pooling indices or None)
        From block 3 to the end of block 5.
    activity : () float32
        Sum of the layers' mean activations.
    """

    output: torch.Tensor
    maps: dict[str, torch.Tensor]
    detectors: dict[str, torch.Tensor]
    steps: list[tuple[nn.Module, torch.Tensor, torch.Tensor | None]]
    activity: torch.Tensor


def trace_features(features: nn.Sequential, images: torch.Tensor) -> Trace:
    """Run the features on (n, 3, height, width) images."""
    ends = {position - 1: block for block, position in BLOCK_ENDS.items()}
    maps, detectors, steps, values, activity = {}, {}, [], images, images.new_zeros(())
    for position, layer in enumerate(features):
        before, indices = values, None
        if isinstance(layer, nn.MaxPool2d):
            values, indices = F.max_pool2d(before, 2, return_indices=True)
        elif isinstance(layer, nn.ReLU):
            values = F.relu(before)
            activity = activity + values.mean()
        else:
            values = layer(before)
        if _BLOCK3 <= position < BLOCK_ENDS["block5"]:
            steps.append((layer, before, indices))
        if position in ends:
            maps[ends[position]] = values
            detectors[ends[position]] = F.leaky_relu(before, _LEAK)
    return Trace(values, maps, detectors, steps, activity)


class PartHeads(nn.Module):
    """Where the parts are, told from the last convolutions of blocks by weights that are never negative.

    In block 4 the weights are learned. In block 5 they are fixed: channel c stands for the part c modulo `n_parts`
    and for no other, and the channels of a part are summed, so that they may share out its looks between them.

    Parameters
    ----------
    widths : dict of str to int
        Channels at the end of each block.
    n_parts : int
    """

    def __init__(self, widths: dict[str, int], n_parts: int) -> None:
        super().__init__()
        self.n_parts = n_parts
        self.learned = nn.Parameter(torch.rand(n_parts, widths["block4"]) * 0.1)
        self.owned = (torch.arange(widths["block5"]) % n_parts == torch.arange(n_parts)[:, None]).float()
        self.biases = nn.ParameterDict({block: torch.full((n_parts,), -3.0) for block in widths})

    def weight(self, block: str) -> torch.Tensor:
        """Weights of a block's channels, (n_parts, n_channels), never negative."""
        return self.owned if block == "block5" else self.learned.relu()

    def loss(self, detectors: dict[str, torch.Tensor], coverage: torch.Tensor) -> torch.Tensor:
        """Sum the binary cross-entropies by cell over the blocks; `coverage` is (n, n_parts, GRID, GRID) in [0, 1]."""
        total = coverage.new_zeros(())
        for block, bias in self.biases.items():
            logits = F.conv2d(detectors[block], self.weight(block)[:, :, None, None], bias)
            truth = (F.adaptive_avg_pool2d(coverage, logits.shape[-1]) * _COVERAGE_GAIN).clamp(max=1)
            total = total + F.binary_cross_entropy_with_logits(logits, truth, weight=1 + 9 * truth)
        return total * self.n_parts


def compute_impurity(trace: Trace, heads: PartHeads, coverage: torch.Tensor) -> torch.Tensor:
    """Share of a channel's activation that lies in cells without its part, averaged over the channels of block 5.

    A share, because a weak false activation with a strong weight to a class carries as much relevance as a true one.
    """
    values = trace.maps["block5"]
    shown = (F.adaptive_avg_pool2d(coverage, values.shape[-1]) > 0.04).float()
    mine = torch.einsum("pc,nphw->nchw", heads.owned, shown)
    total = values.sum((0, 2, 3))
    return (1 - (values * mine).sum((0, 2, 3)) / (total + 1e-3))[total > 0].mean()


def follow_relevance(
    steps: Sequence[tuple[nn.Module, torch.Tensor, torch.Tensor | None]], flow: torch.Tensor
) -> torch.Tensor:
    """Follow relevance from the end of block 5 down to the input of block 3 by the ZPlus rule, differentiably."""
    for layer, before, indices in reversed(steps):
        if isinstance(layer, nn.Conv2d):
            weight = layer.weight.relu()
            total = F.conv2d(before, weight, padding=1) + 1e-6
            flow = before * F.conv_transpose2d(flow / total, weight, padding=1)
        elif indices is not None:
            flow = F.max_unpool2d(flow, indices, [2, 2])
    return flow


def compute_stray_relevance(
    trace: Trace, heads: PartHeads, coverage: torch.Tensor, rng: torch.Generator
) -> torch.Tensor:
    """Share of a part's relevance that lies outside of it, for one part drawn in each scene, averaged.

    Relevance starts at the channels of block 5 that tell the part, where the part is.
    """
    cells = F.adaptive_avg_pool2d(coverage, trace.maps["block5"].shape[-1])
    rows = torch.arange(len(cells))
    drawn = torch.multinomial((cells.flatten(2).amax(2) > 0.12).float() + 1e-9, 1, generator=rng)[:, 0]
    start = trace.maps["block5"] * heads.weight("block5")[drawn][:, :, None, None]
    start = start * (cells[rows, drawn] > 0.1)[:, None]
    relevance = follow_relevance(trace.steps, start).sum(1)
    inside = (coverage[rows, drawn] * 1.3).clamp(max=1)
    share = (relevance * inside).sum((1, 2)) / (relevance.sum((1, 2)) + 1e-6)
    return (1 - share).mean()


@torch.no_grad()
def shrink_filters(features: nn.Sequential, everywhere: float, off_centre: float) -> None:
    """Move filter weights of blocks 3 to 5 towards zero, the more the farther they lie from the filter's centre.

    Compact filters keep the effective receptive field of late channels near the part that they tell. Biases are kept
    at or below zero: a positive one would absorb relevance.
    """
    distance = torch.tensor([[2.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 2.0]])
    reach = {3: 0.15, 4: 0.5, 5: 1.0}
    for position, layer in enumerate(features):
        if not isinstance(layer, nn.Conv2d):
            continue
        if layer.bias is not None:
            layer.bias.clamp_(max=0)
        block = 3 if position < 17 else 4 if position < BLOCK_ENDS["block4"] else 5
        if position >= _BLOCK3:
            amount = everywhere + off_centre * reach[block] * distance
            layer.weight.copy_(layer.weight.sign() * (layer.weight.abs() - amount).clamp(min=0))
