"""Where a single neuron's relevance flows: the windows that it touches at every step below it.

Owns window sizes, origins, frame sizes and their costs in multiply-adds. Must not know tensors of images or requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from .chain import Pair
from .lrp_rules import ConvolutionRule, FlatRule, MaxPoolingRule, RectifierRule, Rule, ScalingRule


@dataclass(frozen=True)
class Reach:
    """How one step maps a window of its output to the window of its input.

    Attributes
    ----------
    stride, offset : (rows, columns)
        Input origin = output origin * stride + offset.
    span : (rows, columns)
        Input pixels that one output pixel sees.
    frame : (height, width)
        Of the step's whole input.
    weight : int
        Multiply-adds for each output pixel.
    """

    stride: Pair
    offset: Pair
    span: Pair
    frame: Pair
    weight: int

    def origin(self, origin: Pair) -> Pair:
        """Map the top left corner of an output window to that of its input window."""
        return (origin[0] * self.stride[0] + self.offset[0], origin[1] * self.stride[1] + self.offset[1])

    def size(self, size: Pair) -> Pair:
        """Map the size of an output window to that of its input window."""
        rows, columns = ((n - 1) * s + r for n, s, r in zip(size, self.stride, self.span, strict=True))
        return rows, columns


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
        frame = input_size
        for position, rule in enumerate(rules):
            reach = _reach(rule, frame, position)
            if reach is None:
                break
            self.reaches.append(reach)
            frame = self._output_frame(reach)
        self.last_frame = frame

    @staticmethod
    def _output_frame(reach: Reach) -> Pair:
        rows, columns = (
            (n - 2 * o - r) // s + 1
            for n, o, r, s in zip(reach.frame, reach.offset, reach.span, reach.stride, strict=True)
        )
        return rows, columns

    def output_frame(self, position: int) -> Pair:
        """Return the size of a step's whole output."""
        return self.reaches[position + 1].frame if position + 1 < len(self.reaches) else self.last_frame

    def sizes(self, layer: int) -> list[Pair]:
        """Return the window sizes at the inputs of steps 0 … layer for one neuron of the layer."""
        size, sizes = (1, 1), []
        for reach in reversed(self.reaches[: layer + 1]):
            size = reach.size(size)
            sizes.append(size)
        return sizes[::-1]

    def origins(self, layer: int, neuron: int) -> list[Pair]:
        """Return the window origins at the inputs of steps 0 … layer; negative where they reach into the padding."""
        origin, origins = divmod(neuron, self.output_frame(layer)[1]), []
        for reach in reversed(self.reaches[: layer + 1]):
            origin = reach.origin(origin)
            origins.append(origin)
        return origins[::-1]

    def window_costs(self, layer: int) -> list[int]:
        """Return the multiply-adds of one convolution over the window, for each of the steps 0 … layer."""
        outputs = [*self.sizes(layer)[1:], (1, 1)]
        return [n[0] * n[1] * reach.weight for n, reach in zip(outputs, self.reaches, strict=False)]

    @cached_property
    def frame_costs(self) -> list[int]:
        """The multiply-adds of one convolution over the whole frame, for each step."""
        frames = [self.output_frame(position) for position in range(len(self.reaches))]
        return [n[0] * n[1] * reach.weight for n, reach in zip(frames, self.reaches, strict=True)]

    def worthwhile(self, layer: int) -> bool:
        """Whether a layer works on windows, and its windows are less work than the whole frame."""
        if layer >= len(self.reaches):
            return False
        return sum(self.window_costs(layer)) <= sum(self.frame_costs[: layer + 1])


def _reach(rule: Rule, frame: Pair, position: int) -> Reach | None:
    """Describe a step; None where it does not work on windows."""
    if isinstance(rule, RectifierRule | ScalingRule):
        return Reach((1, 1), (0, 0), (1, 1), frame, 0)
    if isinstance(rule, FlatRule) and position:
        return None
    if isinstance(rule, MaxPoolingRule):
        # surroundings are zero in a window and -inf in a frame: the same only where no value is negative
        padded = rule.padding != (0, 0) and not rule.input_nonnegative
        return None if rule.ceil_mode or padded else _kernel_reach(rule, frame, 0)
    if isinstance(rule, ConvolutionRule):
        return _kernel_reach(rule, frame, rule.weight.numel())
    return None


def _kernel_reach(rule: ConvolutionRule | MaxPoolingRule, frame: Pair, weight: int) -> Reach:
    offset = (-rule.padding[0], -rule.padding[1])
    rows, columns = (d * (k - 1) + 1 for d, k in zip(rule.dilation, rule.kernel, strict=True))
    return Reach(rule.stride, offset, (rows, columns), frame, weight)
