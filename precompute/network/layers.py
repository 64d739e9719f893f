"""What layers a graph has, what they look like, and which of them a pattern selects.

Owns the names of layers: a convolution or linear layer is called after its module, whatever else its module does; any
other module after the one value that leaves it; an operation that has no module of its own after its module and its
name in ATen (``block.conv2d``). A module that is called several times names each call (``conv@1``, ``conv@2``). Must
not know weights, relevance, data or files.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

from precompute.errors import ModelError, nearest_of
from precompute.records import LayerInfo

from .folding import LINEAR
from .graph import Call, Graph, Node
from .receptive_field import Reach, trace

LAYER_KINDS = {"conv2d": "Conv2d", "linear": "Linear"}
"""What a convolution and a linear layer are called, whatever class computes them."""


@dataclass(frozen=True)
class Layer:
    """A value of the graph with a channel axis.

    Attributes
    ----------
    name : str
    kind : str
        ``Conv2d`` or ``Linear``, else the class of the module or the operation's name.
    values : tuple of str
        The values of the graph that it is: several where a convolution's output is read both raw and normalised.
    axis : int
        The channel axis, the batch axis counted.
    """

    name: str
    kind: str
    values: tuple[str, ...]
    axis: int

    def maps(self, values: torch.Tensor) -> torch.Tensor:
        """Bring (n, ...) values to (n, n_channels, height, width), or (n, n_channels) where there is no space."""
        return to_maps(values, self.axis)

    def unmaps(self, maps: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        """Bring maps back to (n, *shape) values."""
        if len(shape) == 1:
            return maps
        order = [size for axis, size in enumerate(shape, 1) if axis != self.axis]
        values = maps.reshape(len(maps), maps.shape[1], *order)
        return values.movedim(1, self.axis)


def to_maps(values: torch.Tensor, axis: int) -> torch.Tensor:
    """Bring (n, ...) values with channels on `axis` to (n, n_channels, height, width) or (n, n_channels)."""
    if values.dim() == 2 or (values.dim() == 4 and axis == 1):
        return values
    moved = values.movedim(axis, 1)
    return moved if moved.dim() == 4 else moved.reshape(*moved.shape[:2], -1, 1)


def find_layers(graph: Graph) -> dict[str, Layer]:
    """Name everything with a channel axis, in the order of execution."""
    axes = find_channel_axes(graph)
    times: dict[str, set[int]] = {}
    for calls in (*graph.calls.values(), *(node.calls for node in graph.nodes)):
        for call in calls:
            times.setdefault(call.path, set()).add(call.count)
    found: dict[str, Layer] = {}
    for name, kind, values in (*_weighted(graph, times), *_modules(graph, times), *_operations(graph, times)):
        axis = axes.get(values[0])
        if axis is not None and name not in found:
            found[name] = Layer(name, kind, values, axis)
    order = {node.name: place for place, node in enumerate(graph.nodes)}
    return dict(sorted(found.items(), key=lambda item: order[item[1].values[0]]))


def name_values(layers: Mapping[str, Layer]) -> dict[str, str]:
    """Name each value for people: after its convolution or linear layer, else after the outermost module it leaves."""
    weighted = set(LAYER_KINDS.values())
    best: dict[str, tuple[tuple[bool, bool, int], str]] = {}
    for layer in layers.values():
        is_operation = layer.name.rpartition(".")[2].partition("@")[0] == layer.kind
        rank = (layer.kind not in weighted, is_operation, layer.name.count("."))
        for value in layer.values:
            if value not in best or rank < best[value][0]:
                best[value] = (rank, layer.name)
    return {value: name for value, (_, name) in best.items()}


def describe_layers(
    graph: Graph, layers: Mapping[str, Layer], reaches: Mapping[str, Reach | None]
) -> tuple[LayerInfo, ...]:
    """Describe layers, in forward order.

    Parameters
    ----------
    graph : Graph
    layers : mapping of str to Layer
    reaches : mapping of str to Reach or None
        How far each node of the graph sees in its inputs, by name.

    Returns
    -------
    tuple of LayerInfo
        `inputs` are the nearest lower layers among those given: none that feeds another of them.
    """
    shapes = {node.name: node.shape for node in graph.nodes}
    fields = trace(graph, reaches)
    named: dict[str, set[str]] = {}
    for layer in layers.values():
        for value in layer.values:
            named.setdefault(value, set()).add(layer.name)
    below = _nearest(graph, named)
    feeding = {layer.name: set[str]().union(*(below[value] for value in layer.values)) for layer in layers.values()}
    above: dict[str, set[str]] = {}
    for layer in layers.values():
        above[layer.name] = feeding[layer.name].union(*(above.get(name, ()) for name in feeding[layer.name]))
    infos = []
    for layer in layers.values():
        shape = layer.maps(torch.empty((0, *shapes[layer.values[0]]), device="meta")).shape[1:]
        found = feeding[layer.name]
        found = found.difference(*(above[name] for name in found))
        infos.append(
            LayerInfo(
                name=layer.name,
                kind=layer.kind,
                n_channels=shape[0],
                height=shape[1] if len(shape) == 3 else 1,
                width=shape[2] if len(shape) == 3 else 1,
                receptive_field=fields[layer.values[0]] if len(shape) == 3 and layer.axis == 1 else None,
                inputs=tuple(name for name in layers if name in found),
            )
        )
    return tuple(infos)


class Named(Protocol):
    """What has a layer's name and kind."""

    @property
    def name(self) -> str:
        """Dotted path."""
        ...

    @property
    def kind(self) -> str:
        """``Conv2d``, ``Linear`` or another."""
        ...


NamedLayer = TypeVar("NamedLayer", bound=Named)


def select_layers(layers: Sequence[NamedLayer], patterns: Sequence[str]) -> tuple[NamedLayer, ...]:
    """Select layers by name or shell pattern.

    Parameters
    ----------
    layers : sequence of Layer or LayerInfo
    patterns : sequence of str
        An exact name selects any layer, a pattern convolutions and linear layers; empty selects every
        two-dimensional convolution.

    Returns
    -------
    tuple of the same
        In their order.

    Raises
    ------
    ModelError
        A pattern matches nothing, or there is no convolution to select.
    """
    weighted = [layer.name for layer in layers if layer.kind in LAYER_KINDS.values()]
    if patterns:
        selected = match_layers([layer.name for layer in layers], patterns, weighted)
    else:
        selected = {layer.name for layer in layers if layer.kind == LAYER_KINDS["conv2d"]}
    if not selected:
        raise ModelError(f"the model has no two-dimensional convolution to select; its layers: {', '.join(weighted)}")
    return tuple(layer for layer in layers if layer.name in selected)


def match_layers(names: Sequence[str], patterns: Sequence[str], by_pattern: Sequence[str] | None = None) -> set[str]:
    """Find the layers that any of the patterns means: a layer's own name, or a shell pattern.

    Parameters
    ----------
    names : sequence of str
        That a pattern may be itself.
    patterns : sequence of str
    by_pattern : sequence of str, optional
        Those among which wildcards look; by default all.

    Raises
    ------
    ModelError
        A pattern matches none of the names.
    """
    among = names if by_pattern is None else by_pattern
    matched = set[str]()
    for pattern in patterns:
        # A dotted path may hold no wildcard, but brackets of a pattern must not hide an exact name.
        matching = {name for name in among if fnmatch.fnmatchcase(name, pattern)}
        matching |= {pattern}.intersection(names)
        if not matching:
            nearest = nearest_of(pattern, among, cutoff=0.4, otherwise="the model's layers")
            raise ModelError(f"no layer matches {pattern!r}{nearest}")
        matched |= matching
    return matched


# --- names ----------------------------------------------------------------------------------------------------------

Entry = tuple[str, str, tuple[str, ...]]


def _weighted(graph: Graph, times: Mapping[str, set[int]]) -> list[Entry]:
    """Name convolutions and linear layers; a merged one and its raw twin have one name."""
    groups: dict[Call, dict[str, list[Node]]] = {}
    for node in graph.nodes:
        if node.operation in LINEAR:
            origin = node.merged[0] if node.merged else node.name
            inner = node.calls[-1] if node.calls else Call("", "", 0)
            groups.setdefault(inner, {}).setdefault(origin, []).append(node)
    parents = {call for node in graph.nodes for call in node.calls[:-1]}
    found: list[Entry] = []
    for call, origins in groups.items():
        alone = len(origins) == 1 and call.path != "" and call not in parents
        for place, nodes in enumerate(origins.values(), 1):
            name = _numbered(call, times)
            if not alone:
                name = f"{name}.{nodes[0].operation}".lstrip(".") + (f"@{place}" if len(origins) > 1 else "")
            ordered = sorted(nodes, key=lambda node: not node.merged)
            found.append((name, LAYER_KINDS[nodes[0].operation], tuple(node.name for node in ordered)))
    return found


def _modules(graph: Graph, times: Mapping[str, set[int]]) -> list[Entry]:
    """Name every call of a module that one value leaves."""
    members: dict[Call, set[str]] = {}
    final = {node.name for node in graph.nodes}
    for name, calls in graph.calls.items():
        while name in graph.aliases and name not in final:
            name = graph.aliases[name]  # noqa: PLW2901 - what stands in its place
        if name in final:
            for call in calls:
                members.setdefault(call, set()).add(name)
    readers: dict[str, list[Node]] = graph.readers()
    found: list[Entry] = []
    for call, inside in members.items():
        leaving = [
            name
            for name in inside
            if name == graph.output or any(reader.name not in inside for reader in readers.get(name, ()))
        ]
        if call.path and len(leaving) == 1:
            found.append((_numbered(call, times), call.kind, (leaving[0],)))
    return found


def _operations(graph: Graph, times: Mapping[str, set[int]]) -> list[Entry]:
    """Name every other operation after its module."""
    counts: dict[tuple[Call, str], list[str]] = {}
    for node in graph.nodes:
        inner = node.calls[-1] if node.calls else Call("", "", 0)
        counts.setdefault((inner, node.operation), []).append(node.name)
    found: list[Entry] = []
    for (call, operation), names in counts.items():
        for place, name in enumerate(names, 1):
            label = f"{_numbered(call, times)}.{operation}".lstrip(".")
            found.append((label + (f"@{place}" if len(names) > 1 else ""), operation, (name,)))
    return found


def _numbered(call: Call, times: Mapping[str, set[int]]) -> str:
    several = len(times.get(call.path, ())) > 1
    return f"{call.path}@{sorted(times[call.path]).index(call.count) + 1}" if several and call.path else call.path


# --- data flow ------------------------------------------------------------------------------------------------------


def find_channel_axes(graph: Graph) -> dict[str, int | None]:
    """Follow the channel axis of every value, the batch axis counted; None where it is lost."""
    axes: dict[str, int | None] = {graph.input: 1}
    shapes = {graph.input: graph.input_shape, **{node.name: node.shape for node in graph.nodes}}
    for node in graph.nodes:
        axes[node.name] = _channel_axis(node, axes, shapes)
    return axes


def _channel_axis(  # noqa: PLR0911 - one line for each kind
    node: Node, axes: Mapping[str, int | None], shapes: Mapping[str, tuple[int, ...]]
) -> int | None:
    n_axes = len(node.shape) + 1
    if not node.batched:
        return None
    if node.operation == "linear":
        return n_axes - 1
    if n_axes == 2 or node.operation == "conv2d":
        return 1
    source = next((name for name in node.inputs if axes.get(name) is not None), None)
    if source is None:
        return None
    axis, before = axes[source], shapes[source]
    assert axis is not None, "chosen above"
    given = node.arguments
    match node.operation:
        case "permute":
            return [int(part) % n_axes for part in given["dims"]].index(axis)
        case "transpose":
            swapped = {given["dim0"] % n_axes: given["dim1"] % n_axes, given["dim1"] % n_axes: given["dim0"] % n_axes}
            return int(swapped.get(axis, axis))
        case "view" | "flatten" | "unflatten" | "squeeze" | "unsqueeze":
            same_frame = len(node.shape) >= 3 and len(before) >= 3 and node.shape[-2:] == before[-2:]
            kept = axis < n_axes and len(node.shape) >= axis and node.shape[:axis] == before[:axis]
            return 1 if same_frame and axis == 1 else axis if kept else None
        case _:
            return axis if len(node.shape) == len(before) else None


def _nearest(graph: Graph, named: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Find the named layers that feed each value with no other between."""
    below: dict[str, set[str]] = {graph.input: set()}
    for node in graph.nodes:
        below[node.name] = set[str]().union(*(named.get(name) or below[name] for name in node.inputs))
    return below
