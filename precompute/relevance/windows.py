"""Where a single neuron's relevance flows: the windows that it touches at every value below it.

Owns the place, size, padding and cost of windows along a graph. Must not know tensors of images or requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from precompute.network.graph import Node
from precompute.network.receptive_field import Reach

from .operations import Rule

Pair = tuple[int, int]


class Span(NamedTuple):
    """A window of a value: its top left corner, height and width, inside the frame."""

    origin: Pair
    size: Pair

    def offset_in(self, whole: Span) -> Pair:
        """Return where this window begins inside another that holds it."""
        return self.origin[0] - whole.origin[0], self.origin[1] - whole.origin[1]


class Need(NamedTuple):
    """What one operation reads for a window of its output.

    Attributes
    ----------
    span : Span
        Inside the frame of its inputs.
    padding : (left, right, top, bottom)
        What it sees beyond the frame.
    """

    span: Span
    padding: tuple[int, int, int, int]

    @property
    def padded_size(self) -> Pair:
        """Height and width with the padding."""
        left, right, top, bottom = self.padding
        return self.span.size[0] + top + bottom, self.span.size[1] + left + right


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of one neuron.

    Attributes
    ----------
    spans : dict of str to Span
        The window of each value, which holds all that its readers need.
    needs : dict of str to Need
        By the name of each node below the neuron, its own value included.
    key : tuple
        Equal where two neurons of a layer can go through one batch.
    """

    spans: Mapping[str, Span]
    needs: Mapping[str, Need]
    key: tuple[object, ...]


class Geometry:
    """The windows of neurons.

    Parameters
    ----------
    steps : sequence of (Node, Rule)
        In the order of execution.
    reaches : mapping of str to Reach or None
    source : str
        The value that is the image.
    shapes : mapping of str to tuple of int
    """

    def __init__(
        self,
        steps: Sequence[tuple[Node, Rule]],
        reaches: Mapping[str, Reach | None],
        source: str,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._steps, self._source, self._shapes = steps, source, shapes
        self.reaches = {node.name: self._usable(node, rule, reaches.get(node.name)) for node, rule in steps}
        self.places = {node.name: place for place, (node, _) in enumerate(steps)}
        self._covered: dict[str, bool] = {source: True}
        for node, rule in steps:
            usable = self.reaches[node.name] is not None
            self._covered[node.name] = usable and all(self._covered[name] for name in rule.signals)

    def covers(self, value: str) -> bool:
        """Whether everything that relevance passes from a value down works on windows."""
        return self._covered.get(value, False)

    def frame(self, value: str) -> Pair:
        """Return the height and width of a whole value."""
        shape = self._shapes[value]
        return shape[1], shape[2]

    def chain(self, value: str) -> tuple[int, ...]:
        """List the places of the operations that relevance passes from a value down, in the order of execution."""
        return _chain(self, value)

    def windows(self, value: str, neuron: int) -> Windows:
        """Return the windows of one neuron of a value."""
        return _windows(self, value, neuron)

    def window_costs(self, value: str, neuron: int) -> dict[int, int]:
        """Return the multiply-adds of one pass over the windows, by the place of each operation."""
        spans = self.windows(value, neuron).spans
        return {
            place: spans[self._steps[place][0].name].size[0]
            * spans[self._steps[place][0].name].size[1]
            * self._steps[place][1].n_products
            for place in self.chain(value)
        }

    def frame_cost(self, place: int) -> int:
        """Return the multiply-adds of one pass over the whole frame."""
        node, rule = self._steps[place]
        if not rule.n_products:
            return 0
        rows, columns = node.shape[-2:]
        return rows * columns * rule.n_products

    def _usable(self, node: Node, rule: Rule, reach: Reach | None) -> Reach | None:
        """Return the reach, where the operation works on windows."""
        framed = len(node.shape) == 3 and all(len(self._shapes[name]) == 3 for name in rule.signals)
        if reach is None or not rule.signals or not framed or not rule.takes_windows:
            return None
        if any(padding >= span for padding, span in zip(reach.padding, reach.span, strict=True)):
            return None  # an output could see nothing but padding, and a window would be empty
        for name in rule.signals:
            rows = zip(node.shape[1:], self.frame(name), reach.padding, reach.stride, strict=True)
            if any((n - 1) * stride - padding >= frame for n, frame, padding, stride in rows):
                return None
        return reach

    def _find_chain(self, value: str) -> tuple[int, ...]:
        needed, found = {value}, []
        for place in range(self.places[value], -1, -1):
            node, rule = self._steps[place]
            if node.name in needed:
                found.append(place)
                needed.update(rule.signals)
        return tuple(found[::-1])

    def _find_windows(self, value: str, neuron: int) -> Windows:
        row, column = divmod(neuron, self.frame(value)[1])
        spans = {value: Span((row, column), (1, 1))}
        needs: dict[str, Need] = {}
        key: list[object] = []
        for place in reversed(self.chain(value)):
            node, rule = self._steps[place]
            reach = self.reaches[node.name]
            assert reach is not None, "asked of what is covered"
            need = _need(spans[node.name], reach, self.frame(rule.signals[0]))
            needs[node.name] = need
            for name in rule.signals:
                spans[name] = _hull(spans[name], need.span) if name in spans else need.span
            key.append(need.padding)
        for place in self.chain(value):
            node, rule = self._steps[place]
            for name in rule.signals:
                key += [spans[name].size, needs[node.name].span.offset_in(spans[name]), needs[node.name].span.size]
        return Windows(spans, needs, tuple(key))


@lru_cache(maxsize=4096)
def _chain(geometry: Geometry, value: str) -> tuple[int, ...]:
    return geometry._find_chain(value)


@lru_cache(maxsize=16384)
def _windows(geometry: Geometry, value: str, neuron: int) -> Windows:
    return geometry._find_windows(value, neuron)


def _need(span: Span, reach: Reach, frame: Pair) -> Need:
    """Map a window of the output to that of the input, clipped to its frame."""
    (top, height, above, under), (left, width, before, after) = (
        _axis(span.origin[axis], span.size[axis], reach, frame, axis) for axis in (0, 1)
    )
    return Need(Span((top, left), (height, width)), (before, after, above, under))


def _axis(origin: int, size: int, reach: Reach, frame: Pair, axis: int) -> tuple[int, int, int, int]:
    first = origin * reach.stride[axis] - reach.padding[axis]
    last = first + (size - 1) * reach.stride[axis] + reach.span[axis]
    start, stop = max(first, 0), min(last, frame[axis])
    return start, stop - start, start - first, last - stop


def _hull(left: Span, right: Span) -> Span:
    """Return the smallest window that holds both."""
    origin = min(left.origin[0], right.origin[0]), min(left.origin[1], right.origin[1])
    ends = [max(a.origin[axis] + a.size[axis] for a in (left, right)) for axis in (0, 1)]
    return Span(origin, (ends[0] - origin[0], ends[1] - origin[1]))
