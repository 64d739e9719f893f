"""Where a single neuron's relevance flows: the windows that it touches at every step below it.

Owns the place, size, padding and cost of windows. Must not know tensors of images or requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from precompute.network.steps import Pair

from .rules import ConvolutionRule, FlatRule, MaxPoolingRule, RectifierRule, Rule, ScalingRule


class Shape(NamedTuple):
    """The part of a window that batches have in common.

    Attributes
    ----------
    size : (height, width)
        Of the part inside the frame.
    padding : (left, right, top, bottom)
        What the step sees beyond the frame.
    """

    size: Pair
    padding: tuple[int, int, int, int]

    @property
    def padded_size(self) -> Pair:
        """Height and width with the padding."""
        left, right, top, bottom = self.padding
        return self.size[0] + top + bottom, self.size[1] + left + right


class Window(NamedTuple):
    """The input of one step, as far as one neuron above it sees it: its top left corner and its shape."""

    origin: Pair
    shape: Shape


@dataclass(frozen=True)
class Reach:
    """How one step maps a window of its output to the window of its input.

    Attributes
    ----------
    stride, padding, span : (rows, columns)
        `span` is how many input pixels one output pixel sees.
    frame : (height, width)
        Of the step's whole input.
    weight : int
        Multiply-adds for each output pixel.
    """

    stride: Pair
    padding: Pair
    span: Pair
    frame: Pair
    weight: int

    def below(self, origin: Pair, size: Pair) -> Window:
        """Map a window of the output, inside its frame, to that of the input, clipped to its frame."""
        (top, height, above, under), (left, width, before, after) = (
            self._axis(axis, origin[axis], size[axis]) for axis in (0, 1)
        )
        return Window((top, left), Shape((height, width), (before, after, above, under)))

    def _axis(self, axis: int, origin: int, size: int) -> tuple[int, int, int, int]:
        first = origin * self.stride[axis] - self.padding[axis]
        last = first + (size - 1) * self.stride[axis] + self.span[axis]
        start, stop = max(first, 0), min(last, self.frame[axis])
        return start, stop - start, start - first, last - stop


class Geometry:
    """The windows of every layer of a chain.

    Parameters
    ----------
    rules : sequence of Rule
    input_size : (height, width)

    Attributes
    ----------
    reaches : list of Reach
        Of the lowest steps, up to the first that does not work on windows.
    """

    def __init__(self, rules: Sequence[Rule], input_size: Pair) -> None:
        self.reaches: list[Reach] = []
        self._frames = [input_size]
        for position, rule in enumerate(rules):
            reach = _reach(rule, self._frames[-1], position)
            if reach is None:
                break
            self.reaches.append(reach)
            rows, columns = (
                (n + 2 * p - r) // s + 1
                for n, p, r, s in zip(reach.frame, reach.padding, reach.span, reach.stride, strict=True)
            )
            self._frames.append((rows, columns))

    def covers(self, layer: int) -> bool:
        """Whether everything from the layer down works on windows."""
        return layer < len(self.reaches)

    def output_frame(self, position: int) -> Pair:
        """Return the size of a step's whole output."""
        return self._frames[position + 1]

    def place(self, layer: int, neuron: int) -> Pair:
        """Return the row and column of a flat neuron."""
        return divmod(neuron, self.output_frame(layer)[1])

    def windows(self, layer: int, neuron: int) -> list[Window]:
        """Return the windows of one neuron at the inputs of steps 0 … layer."""
        origin, size, windows = self.place(layer, neuron), (1, 1), []
        for reach in reversed(self.reaches[: layer + 1]):
            window = reach.below(origin, size)
            origin, size = window.origin, window.shape.size
            windows.append(window)
        return windows[::-1]

    def window_costs(self, layer: int, neuron: int) -> list[int]:
        """Return the multiply-adds of one convolution over the windows, for each of the steps 0 … layer."""
        outputs = [*(window.shape.size for window in self.windows(layer, neuron)[1:]), (1, 1)]
        return [n[0] * n[1] * reach.weight for n, reach in zip(outputs, self.reaches, strict=False)]

    @cached_property
    def frame_costs(self) -> list[int]:
        """The multiply-adds of one convolution over the whole frame, for each step."""
        return [n[0] * n[1] * reach.weight for n, reach in zip(self._frames[1:], self.reaches, strict=True)]


def _reach(rule: Rule, frame: Pair, position: int) -> Reach | None:
    """Describe a step; None where it does not work on windows."""
    if isinstance(rule, RectifierRule | ScalingRule):
        return Reach((1, 1), (0, 0), (1, 1), frame, 0)
    if isinstance(rule, FlatRule) and position:
        return None
    if isinstance(rule, MaxPoolingRule):
        return None if rule.ceil_mode else _kernel_reach(rule, frame, 0)
    if isinstance(rule, ConvolutionRule):
        return _kernel_reach(rule, frame, rule.weight.numel())
    return None


def _kernel_reach(rule: ConvolutionRule | MaxPoolingRule, frame: Pair, weight: int) -> Reach | None:
    rows, columns = (d * (k - 1) + 1 for d, k in zip(rule.dilation, rule.kernel, strict=True))
    if rule.padding[0] >= rows or rule.padding[1] >= columns:
        return None  # an output could see nothing but padding, and a window would be empty
    return Reach(rule.stride, rule.padding, (rows, columns), frame, weight)
