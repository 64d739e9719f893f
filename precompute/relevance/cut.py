"""The cut of a network at a layer: the layer itself, what runs beside it, and what was taken up behind both.

Owns which values cross the network at a layer's depth, and the split of a logit over them. Must not know rules by
name, data sets or files.

Everything computed from a layer lies behind it. All relevance that starts at the logit passes from what lies behind
into the layer, or into a value that lies neither behind nor in it (a shortcut, a parallel branch), or is taken by
biases and stabilisers on its way: these parts add up to the logit. A share is of the absolute relevance, channel by
channel, of the layer and all beside it: in a chain nothing runs beside, and the share is of the layer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from precompute.network.graph import Node
from precompute.network.layers import Layer, to_maps

from .channel_scores import summing_dtype
from .operations import Kept, Rule

Edge = tuple[str, str]
"""A reader and the value that it reads."""


@dataclass(frozen=True)
class Cut:
    """What crosses a network at the depth of a layer.

    Attributes
    ----------
    layer : str
    behind : frozenset of str
        Values computed from the layer.
    own : tuple of Edge
        On which relevance reaches the layer.
    beside : mapping of str to tuple of Edge
        On which it passes the layer, by the value that it reaches.
    """

    layer: str
    behind: frozenset[str]
    own: tuple[Edge, ...]
    beside: Mapping[str, tuple[Edge, ...]]

    @property
    def is_whole(self) -> bool:
        """Whether all relevance goes through the layer."""
        return not self.beside

    @property
    def edges(self) -> frozenset[Edge]:
        """All edges beside the layer."""
        return frozenset(edge for edges in self.beside.values() for edge in edges)


def find_cut(steps: Sequence[tuple[Node, Rule]], flowing: Collection[str], layer: Layer) -> Cut:
    """Find what crosses a network at the depth of a layer.

    Parameters
    ----------
    steps : sequence of (Node, Rule)
    flowing : collection of str
        Values that relevance reaches.
    layer : Layer
    """
    inside = set(layer.values)
    behind: set[str] = set()
    own: list[Edge] = []
    beside: dict[str, list[Edge]] = {}
    for node, rule in steps:
        if node.name in inside or node.name not in flowing:
            continue
        if not any(name in behind or name in inside for name in node.inputs):
            continue
        behind.add(node.name)
        for name in rule.signals:
            if name in inside:
                own.append((node.name, name))
            elif name not in behind:
                beside.setdefault(name, []).append((node.name, name))
    return Cut(layer.name, frozenset(behind), tuple(own), {name: tuple(edges) for name, edges in beside.items()})


@dataclass(frozen=True)
class BesidePart:
    """Relevance that passed beside a layer.

    Attributes
    ----------
    name : str
        The layer or operation that it went to.
    relevance : float
        Its sum, in units of the logit.
    absolute : float
        The sum of the absolute values of its channels.
    """

    name: str
    relevance: float
    absolute: float


@dataclass(frozen=True)
class Split:
    """How a logit is split over a cut: `own`, the parts of `beside`, `biases` and `stabilisers` add up to it.

    Attributes
    ----------
    logit : float
    own, own_absolute : float
        Of the layer: the sum of its relevance, and of the absolute values of its channels.
    beside : tuple of BesidePart
        Empty where the layer carries the whole.
    biases, stabilisers : float
        What biases (and padding) and stabilisers behind the cut took.
    """

    logit: float
    own: float
    own_absolute: float
    beside: tuple[BesidePart, ...] = ()
    biases: float = 0.0
    stabilisers: float = 0.0

    @property
    def absolute(self) -> float:
        """What shares are shares of: the absolute relevance of all channels of the cut."""
        return self.own_absolute + sum(part.absolute for part in self.beside)

    @property
    def residual(self) -> float:
        """What the parts lack of the logit."""
        parts = sum(part.relevance for part in self.beside)
        return self.logit - self.own - parts - self.biases - self.stabilisers


def sum_channels(values: torch.Tensor, axis: int | None) -> torch.Tensor:
    """Sum (n, ...) values over all but the batch and the channel axis: (n, n_channels), at least float32."""
    precise = summing_dtype(values.dtype)
    if values.dim() == 2:
        return values.to(precise)
    maps = to_maps(values, 1 if axis is None else axis)
    return maps.sum(dim=tuple(range(2, maps.dim())), dtype=precise)


@dataclass(eq=False)
class EdgeSums:
    """Channel sums of the relevance on chosen edges, noted while it comes down.

    Attributes
    ----------
    edges : collection of Edge
    axes : mapping of str to int or None
        Channel axis of each value.
    found : dict of Edge to (n, n_channels) tensor
    """

    edges: Collection[Edge]
    axes: Mapping[str, int | None]
    found: dict[Edge, torch.Tensor] = field(default_factory=dict)

    def note(self, reader: str, names: Sequence[str], parts: Sequence[torch.Tensor]) -> None:
        """Note what a reader sent to each value."""
        for name, part in zip(names, parts, strict=True):
            if (reader, name) in self.edges:
                self.found[reader, name] = sum_channels(part, self.axes.get(name))

    def of(self, cut: Cut) -> dict[str, torch.Tensor]:
        """Add up the relevance that passed beside a layer, by value: (n, n_channels) each."""
        sums = {}
        for name, edges in cut.beside.items():
            parts = [self.found[edge] for edge in edges if edge in self.found]
            if parts:
                sums[name] = torch.stack(parts).sum(0)
        return sums

    def absolute(self, cut: Cut) -> torch.Tensor | float:
        """Sum the absolute relevance of the channels beside a layer: (n,), or 0 where there are none."""
        found = [part.abs().sum(1) for part in self.of(cut).values()]
        return torch.stack(found).sum(0) if found else 0.0


@dataclass(eq=False)
class TakenSums:
    """What each operation took of the relevance of one image, noted while it comes down.

    Attributes
    ----------
    constants, stabilisers : dict of str to float
        By the operation's value.
    """

    constants: dict[str, float] = field(default_factory=dict)
    stabilisers: dict[str, float] = field(default_factory=dict)

    def note(self, name: str, rule: Rule, kept: Kept, relevance: torch.Tensor) -> None:
        """Note what one operation takes."""
        absorbed = rule.absorb(kept, relevance)
        self.constants[name] = float(absorbed.constant.double().sum())
        self.stabilisers[name] = float(absorbed.stabiliser.double().sum())

    def of(self, cut: Cut) -> tuple[float, float]:
        """Add up what was taken behind a cut."""
        return (
            sum(value for name, value in self.constants.items() if name in cut.behind),
            sum(value for name, value in self.stabilisers.items() if name in cut.behind),
        )
