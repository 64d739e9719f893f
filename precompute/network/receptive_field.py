"""From a neuron to the input region that can affect it.

Owns the derivation of receptive fields along a graph and the box of one neuron. Must not know operations by name: how
far each sees is handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from precompute.records import Box, ReceptiveField

from .graph import Graph


class Reach(NamedTuple):
    """How far one position of an output sees in the input, by (rows, columns).

    Attributes
    ----------
    stride, padding, span : (int, int)
        `span` is how many input positions one output position sees.
    """

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    span: tuple[int, int] = (1, 1)


def trace(graph: Graph, reaches: Mapping[str, Reach | None]) -> dict[str, ReceptiveField | None]:
    """Derive the receptive field of every value.

    Parameters
    ----------
    graph : Graph
    reaches : mapping of str to Reach or None
        By the name of each node; None where a position may see everything.

    Returns
    -------
    dict of str to ReceptiveField or None
        None where the whole input can affect a neuron or an operation has no known window.
    """
    fields: dict[str, ReceptiveField | None] = {graph.input: ReceptiveField(size=1, stride=1, start=0)}
    constant = {graph.input: False}
    for node in graph.nodes:
        below = [fields[name] for name in node.inputs if not constant[name]]
        constant[node.name] = not below
        reach = reaches.get(node.name)
        known = [field for field in below if field is not None]
        joined = _union(known) if known and len(known) == len(below) else None
        fields[node.name] = _widened(joined, reach) if joined and reach else None
    return fields


def box(field: ReceptiveField | None, neuron: int, width: int, input_height: int, input_width: int) -> Box:
    """Compute the input region of one neuron, clipped to the input.

    Parameters
    ----------
    field : ReceptiveField or None
        None gives the whole input.
    neuron : int
        Flat index h * width + w.
    width : int
        Neurons in a row of the layer's output.
    input_height, input_width : int
        Pixels.

    Returns
    -------
    Box
    """
    if field is None:
        return Box(0, 0, input_height, input_width)
    row, column = divmod(neuron, width)
    top, left = (field.start + position * field.stride for position in (row, column))
    return Box(
        top=min(max(top, 0), input_height - 1),
        left=min(max(left, 0), input_width - 1),
        bottom=max(min(top + field.size, input_height), 1),
        right=max(min(left + field.size, input_width), 1),
    )


def _union(fields: list[ReceptiveField]) -> ReceptiveField | None:
    """Join the fields of branches; None where their strides differ, because then no one rule gives the position."""
    if len({field.stride for field in fields}) != 1:
        return None
    start = min(field.start for field in fields)
    end = max(field.start + field.size for field in fields)
    return ReceptiveField(size=end - start, stride=fields[0].stride, start=start)


def _widened(field: ReceptiveField, reach: Reach) -> ReceptiveField | None:
    """Send a field through an operation; of an oblong kernel the bounding square counts."""
    if reach.stride[0] != reach.stride[1]:
        return None
    start = min(-padding for padding in reach.padding)
    end = max(span - 1 - padding for span, padding in zip(reach.span, reach.padding, strict=True))
    return ReceptiveField(
        size=field.size + (end - start) * field.stride,
        stride=field.stride * reach.stride[0],
        start=field.start + start * field.stride,
    )
