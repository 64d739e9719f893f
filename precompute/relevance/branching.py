"""The reference engine with direct reference heatmaps, for networks whose branches are joined by concatenation.

Owns the reading of a network as a graph of rules, and the shared pass: one forward pass for an image, and one batched
backward pass for all of its concepts at a layer. The reference engine would run the whole network six times over for
each heatmap. Scores and explanations stay with the reference engine. Must not know files or data sets.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn

from precompute.config import RelevanceConfig
from precompute.errors import UnsupportedModel
from precompute.network import steps as chain

from .composites import build_rule
from .protocol import ReferenceRequest
from .rules import FlatRule, Kept, Rule
from .zennit import ZennitEngine

ROWS = 64
"""Heatmaps that go through one backward pass; bounds the memory, not the result."""

INPUT = "input"


@dataclass(frozen=True, eq=False)
class Node:
    """One step of the graph.

    Attributes
    ----------
    name : str
        Of the value that it makes.
    inputs : tuple of str
        The values that it takes: one, or several where they are concatenated along the channels.
    rule : Rule or None
        None concatenates.
    layer : str
        Dotted path of the module; empty for a concatenation.
    """

    name: str
    inputs: tuple[str, ...]
    rule: Rule | None
    layer: str = ""


def read_graph(
    module: nn.Module, config: RelevanceConfig, device: torch.device, dtype: torch.dtype
) -> tuple[Node, ...]:
    """Read a network as a graph of rules, in forward order; the rest behind an unknown operation is left out.

    Parameters
    ----------
    module : nn.Module
        In eval mode, sound (see `soundness.check_sound`), without batch norm.

    Raises
    ------
    UnsupportedModel
        A part has no direct rule.
    """
    modules = dict(module.named_modules())
    nodes: list[Node] = []
    nonnegative: dict[str, bool] = {}
    renamed: dict[str, str] = {}
    for step in fx.Tracer().trace(module).nodes:
        if step.op == "placeholder":
            renamed[step.name] = INPUT
            nonnegative[INPUT] = False
        elif step.op == "call_module":
            node = _module_node(step, modules, renamed, nonnegative, config, device, dtype)
            if node:
                nodes.append(node)
        elif step.op == "call_function" and step.target is torch.cat and _joins_channels(step):
            inputs = tuple(renamed[part.name] for part in step.args[0])
            nodes.append(Node(step.name, inputs, None))
            renamed[step.name], nonnegative[step.name] = step.name, all(nonnegative[name] for name in inputs)
        else:
            break  # behind the convolutions: no reference heatmap starts here
    return tuple(nodes)


def _joins_channels(step: fx.Node) -> bool:
    axis = step.args[1] if len(step.args) > 1 else step.kwargs.get("dim", 0)
    return bool(axis == 1)


def _module_node(
    step: fx.Node,
    modules: dict[str, nn.Module],
    renamed: dict[str, str],
    nonnegative: dict[str, bool],
    config: RelevanceConfig,
    device: torch.device,
    dtype: torch.dtype,
) -> Node | None:
    """Read one module; None where it does nothing when explaining."""
    layer = str(step.target)
    source = renamed[operator.attrgetter("name")(step.args[0])]
    read = chain.read_leaf(layer, modules[layer])
    if read is None:
        renamed[step.name] = source
        return None
    linear = isinstance(read, chain.Convolution | chain.Dense)
    rule = build_rule(read, config, device, dtype, first=source == INPUT, input_nonnegative=nonnegative[source])
    renamed[step.name] = step.name
    nonnegative[step.name] = isinstance(read, chain.Rectifier) or (nonnegative[source] and not linear)
    return Node(step.name, (source,), rule, layer)


Rows = tuple[torch.Tensor, torch.Tensor]
"""Which rows of a batch there is relevance for, (m,) int64, and that relevance, (m, ...) float."""


class SharedPass:
    """One forward pass of one image, ready for many backward passes from any of its layers.

    Parameters
    ----------
    nodes : sequence of Node
    image : (1, 3, height, width) float
    layers : collection of str
        The layers asked for; the forward pass ends at the last of them.
    """

    def __init__(self, nodes: Sequence[Node], image: torch.Tensor, layers: Collection[str]) -> None:
        last = max(index for index, node in enumerate(nodes) if node.layer in layers)
        self._nodes = nodes[: last + 1]
        self._kept: dict[str, Kept] = {}
        self._widths: dict[str, int] = {}
        self.outputs: dict[str, torch.Tensor] = {}
        values = {INPUT: image.contiguous(memory_format=torch.channels_last)}
        for node in self._nodes:
            if node.rule is None:
                values[node.name] = torch.cat([values[name] for name in node.inputs], dim=1)
            else:
                values[node.name], self._kept[node.name] = node.rule.forward_keeping(values[node.inputs[0]])
                self._share_total(node, values[node.inputs[0]])
            self._widths[node.name] = values[node.name].shape[1]
            if node.layer in layers:
                self.outputs[node.layer] = values[node.name]

    def _share_total(self, node: Node, values: torch.Tensor) -> None:
        """Compute the modified forward pass once, for all rows."""
        total = getattr(node.rule, "total", None)
        if total is not None:
            kept = self._kept[node.name]
            self._kept[node.name] = Kept(kept.shape, kept.values, total(values), kept.winners)

    def heatmaps(self, starts: Mapping[str, Rows]) -> Rows:
        """Propagate relevance from the outputs of layers down to heatmaps.

        Rows that start at a lower layer join those that come from above it, so that one batch does for all.

        Parameters
        ----------
        starts : mapping of layer to (rows, relevance)
            No row starts at two layers.

        Returns
        -------
        rows : (m,) int64
        heatmaps : (m, height, width) float
        """
        flow: dict[str, list[Rows]] = {}
        for node in reversed(self._nodes):
            arrived = flow.pop(node.name, [])
            if node.layer in starts:
                arrived.append(starts[node.layer])
            if not arrived:
                continue
            rows, relevance = _gathered(arrived)
            for name, part in zip(node.inputs, self._backward(node, relevance), strict=True):
                flow.setdefault(name, []).append((rows, part))
        rows, pixels = _gathered(flow[INPUT])
        return rows, pixels.sum(dim=1)

    def _backward(self, node: Node, relevance: torch.Tensor) -> Sequence[torch.Tensor]:
        if node.rule is None:
            return torch.split(relevance, [self._widths[name] for name in node.inputs], dim=1)
        # a rule may overwrite what it is given, and a part of a concatenation is a view of its neighbours
        relevance = relevance.contiguous(memory_format=torch.channels_last)
        kept = self._kept[node.name]
        if isinstance(node.rule, FlatRule) and node.rule.groups == 1:
            spread = node.rule.spread_evenly(kept.shape, relevance.sum(dim=1, keepdim=True))
            return (spread * kept.shape[0],)  # the same for every colour, so that summing over colour needs one
        return (node.rule.backward(kept, relevance),)


def _gathered(parts: Sequence[Rows]) -> Rows:
    """Add up relevance that arrived on several ways, row by row."""
    if len(parts) == 1:
        return parts[0]
    rows = torch.unique(torch.cat([index for index, _ in parts]))
    total = parts[0][1].new_zeros((len(rows), *parts[0][1].shape[1:]))
    for index, values in parts:
        total.index_add_(0, torch.searchsorted(rows, index), values)
    return rows, total


class BranchingEngine(ZennitEngine):
    """The reference engine, with reference heatmaps by shared passes; the same results, several times faster.

    Raises
    ------
    UnsupportedModel
        On construction: the network has a part without a direct rule below its mined layers.
    """

    name = "zennit, direct reference heatmaps"

    def __init__(
        self, module: nn.Module, layer_names: Sequence[str], config: RelevanceConfig, device: torch.device
    ) -> None:
        super().__init__(module, layer_names, config, device)
        self._nodes = read_graph(self._module, config, self._device, self._dtype)
        missing = set(layer_names) - {node.layer for node in self._nodes}
        if missing:
            raise UnsupportedModel(f"{min(missing)} lies behind an operation without a direct rule")

    def reference_heatmaps(self, images: torch.Tensor, requests: Sequence[ReferenceRequest]) -> torch.Tensor:
        """Compute reference heatmaps, those of one image together; see `Engine.reference_heatmaps`."""
        by_image: dict[int, list[int]] = {}
        others = []
        for position, request in enumerate(requests):
            if request.target is None:
                by_image.setdefault(request.image, []).append(position)
            else:
                others.append(position)
        heatmaps = torch.zeros(len(requests), *images.shape[-2:], dtype=self._dtype, device=self._device)
        if others:
            heatmaps[others] = super().reference_heatmaps(images, [requests[position] for position in others])
        with torch.inference_mode():
            for image, positions in by_image.items():
                one = images[image : image + 1].to(self._device, self._dtype)
                shared = SharedPass(self._nodes, one, {requests[position].layer for position in positions})
                for start in range(0, len(positions), ROWS):
                    chunk = positions[start : start + ROWS]
                    rows, found = shared.heatmaps(_starts(shared, [requests[place] for place in chunk]))
                    heatmaps[torch.tensor(chunk, device=self._device)[rows]] = found
        return heatmaps


def _starts(shared: SharedPass, requests: Sequence[ReferenceRequest]) -> dict[str, Rows]:
    """Build the relevance that each request starts from: the activation of its channel, or of its single neuron."""
    by_layer: dict[str, list[int]] = {}
    for row, request in enumerate(requests):
        by_layer.setdefault(request.layer, []).append(row)
    starts: dict[str, Rows] = {}
    for layer, rows in by_layer.items():
        output = shared.outputs[layer]
        flat = output[0].flatten(start_dim=1)
        values = flat.new_zeros((len(rows), *flat.shape))
        for place, row in enumerate(rows):
            request = requests[row]
            where = slice(None) if request.neuron is None else request.neuron
            values[place, request.channel, where] = flat[request.channel, where]
        starts[layer] = torch.tensor(rows, device=output.device), values.view(len(rows), *output.shape[1:])
    return starts
