"""Forward passes that begin at a layer, with some of its channels switched off.

Owns which values have to be kept so that a network can be run on from a layer, also where branches run beside it.
Must not know rules of relevance, data sets or files.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from precompute.network.graph import Node
from precompute.network.layers import Layer

from .operations import Rule

OffValues = tuple[torch.Tensor, ...]
"""What a channel is set to, (n_channels,) for each value that the layer is."""


class Resumption:
    """What has to be computed again where a layer changes, and what of the rest that reads.

    Parameters
    ----------
    steps : sequence of (Node, Rule)
        All operations, in the order of execution.
    layer : Layer
    source, output : str
        The network's input and its logits.
    """

    def __init__(self, steps: Sequence[tuple[Node, Rule]], layer: Layer, source: str, output: str) -> None:
        self.layer, self._output = layer, output
        batched = {source, *(node.name for node, _ in steps if node.batched)}
        behind: set[str] = set(layer.values)
        found: list[tuple[Node, Rule]] = []
        for node, rule in steps:
            if node.name not in behind and any(name in behind for name in node.inputs):
                behind.add(node.name)
                found.append((node, rule))
        needed = {output}
        for node, _ in reversed(found):
            if node.name in needed:
                needed.update(node.inputs)
        self._steps = tuple((node, rule) for node, rule in found if node.name in needed)
        read = {name for node, _ in self._steps for name in node.inputs}
        self.kept = tuple(sorted({*layer.values, *(read - {node.name for node, _ in self._steps})}))
        """The values that a forward pass has to hand over."""
        self._batched = frozenset(name for name in self.kept if name in batched)

    def run(
        self,
        kept: dict[str, torch.Tensor],
        off: torch.Tensor,
        value: OffValues,
        rows: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute the logits with channels switched off.

        Parameters
        ----------
        kept : dict of str to tensor
            The values named by `kept`, of n images.
        off : (m, n_channels) bool
            The channels switched off in each row.
        value : OffValues
            What they are set to, everywhere in space.
        rows : (m,) int64, optional
            The image of each row; by default row i is image i.

        Returns
        -------
        (m, n_classes) float
        """
        values = {
            name: tensor if rows is None or name not in self._batched else tensor.index_select(0, rows)
            for name, tensor in kept.items()
        }
        for name, constant in zip(self.layer.values, value, strict=True):
            maps = self.layer.maps(values[name])
            space = (1,) * (maps.dim() - 2)
            mask = off.view(*off.shape, *space)
            replaced = torch.where(mask, constant.to(maps.dtype).view(1, -1, *space), maps)
            values[name] = self.layer.unmaps(replaced, values[name].shape[1:])
        for node, rule in self._steps:
            rule.in_place = False  # what is read here may be read again
            values[node.name] = rule.forward(values, len(off))
        return values[self._output]


class Intervention:
    """One batch of images, run as far as a layer: switch channels off and see what becomes of the logits.

    Attributes
    ----------
    logits : (n, n_classes) float
        With nothing switched off.
    """

    def __init__(self, resumption: Resumption, kept: dict[str, torch.Tensor], logits: torch.Tensor) -> None:
        self._resumption, self._kept, self.logits = resumption, kept, logits
        self.n, self._device = len(logits), logits.device

    @property
    def n_channels(self) -> int:
        """Channels of the layer."""
        layer = self._resumption.layer
        return int(layer.maps(self._kept[layer.values[0]]).shape[1])

    def sums(self) -> tuple[OffValues, int]:
        """Sum each channel over images and space in float64; returns the sums and how many neurons went into each."""
        layer = self._resumption.layer
        maps = [layer.maps(self._kept[name]) for name in layer.values]
        sums = tuple(part.double().sum(dim=(0, *range(2, part.dim()))) for part in maps)
        return sums, maps[0].numel() // maps[0].shape[1]

    def zero(self) -> OffValues:
        """Return 0 for every channel."""
        return tuple(torch.zeros_like(part) for part in self.sums()[0])

    def without(self, off: torch.Tensor, value: OffValues, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Compute the (m, n_classes) logits with channels switched off, see `Resumption.run`."""
        with torch.inference_mode():
            rows = None if rows is None else rows.to(self._device)
            return self._resumption.run(self._kept, off.to(self._device), value, rows)


def mean_values(parts: Sequence[tuple[OffValues, int]]) -> OffValues:
    """Join the `Intervention.sums` of batches into each channel's mean over images and space."""
    n = sum(count for _, count in parts)
    return tuple(torch.stack(sums).sum(0) / n for sums in zip(*(sums for sums, _ in parts), strict=True))
