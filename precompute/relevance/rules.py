"""The relevance rules as direct passes: each step of a chain knows its forward pass and its own backward pass.

Owns the formulas and the tensors that they keep. Must not know which step gets which rule, which layers are asked for
or files.

A rule's `backward` takes what `forward_keeping` kept for a batch of n images, and relevance for m rows; where n is 1,
all rows belong to that image and share the modified forward pass. It may overwrite the relevance handed over.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F

from precompute.network import steps as chain
from precompute.network.steps import Pair

from . import winograd

EPSILON = 1e-6
"""Of the stabiliser and of the Epsilon rule."""


MIN_CHANNELS_TO_TRANSFORM, MIN_PIXELS_TO_TRANSFORM = 128, 512
"""Below these a direct convolution is faster than Winograd's algorithm, whose transforms cost memory traffic."""

NOTHING = torch.empty(0)


@dataclass(frozen=True, eq=False)
class Kept:
    """What a rule's backward pass needs of its forward pass; what a rule does not need stays empty.

    Attributes
    ----------
    shape : sequence of int
        Of one image's input, without the batch axis.
    values : (n, ...) float
        The input.
    total : (n, ...) float
        The stabilised output, of the modified forward pass where the rule has one; there it may be left empty, and
        is then computed when it is needed.
    winners : (n, n_channels, height, width) int64
        Of a max pooling.
    """

    shape: Sequence[int] = ()
    values: torch.Tensor = NOTHING
    total: torch.Tensor = NOTHING
    winners: torch.Tensor = NOTHING


def stabilise(values: torch.Tensor) -> torch.Tensor:
    """Shift values away from 0 by epsilon, in the direction of their sign; 0 counts as positive."""
    return torch.where(values < 0, values - EPSILON, values + EPSILON)


class Rule:
    """A step that passes relevance through unchanged.

    Attributes
    ----------
    name : str
        The module's dotted path.
    in_place : bool
        Whether `forward` may overwrite its input, set by `build_rules`.
    """

    in_place = False

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Compute the step's output."""
        return values

    def keep(self, values: torch.Tensor, output: torch.Tensor) -> Kept:
        """Return what `backward` needs of the forward pass."""
        return Kept()

    def forward_keeping(self, values: torch.Tensor) -> tuple[torch.Tensor, Kept]:
        """Compute the step's output, and what `backward` needs."""
        output = self.forward(values)
        return output, self.keep(values, output)

    def backward(self, kept: Kept, relevance: torch.Tensor) -> torch.Tensor:
        """Return the relevance of the input from that of the output."""
        return relevance


class RectifierRule(Rule):
    """ReLU: relevance passes."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Compute max(x, 0)."""
        return values.relu_() if self.in_place else values.relu()


class ScalingRule(Rule):
    """The remainder of a merged BatchNorm: its plain gradient."""

    def __init__(self, step: chain.Scaling) -> None:
        super().__init__(step.name)
        self.factor = step.factor

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Multiply by the factor."""
        return values.mul_(self.factor) if self.in_place else values * self.factor

    def backward(self, kept: Kept, relevance: torch.Tensor) -> torch.Tensor:
        """Multiply by the factor."""
        return relevance.mul_(self.factor)


class FlatteningRule(Rule):
    """Flatten: relevance takes its old shape again."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Flatten all but the batch axis."""
        return values.flatten(1)

    def keep(self, values: torch.Tensor, output: torch.Tensor) -> Kept:
        """Keep the shape."""
        return Kept(values.shape[1:])

    def backward(self, kept: Kept, relevance: torch.Tensor) -> torch.Tensor:
        """Restore the shape."""
        values = relevance.view(len(relevance), *kept.shape)
        return values.contiguous(memory_format=torch.channels_last) if values.dim() == 4 else values


class MaxPoolingRule(Rule):
    """Max pooling: the winner takes all, the same winner as in the plain gradient."""

    def __init__(self, step: chain.MaxPooling) -> None:
        super().__init__(step.name)
        self.kernel, self.stride, self.padding, self.dilation = step.kernel, step.stride, step.padding, step.dilation
        self.ceil_mode = step.ceil_mode

    def windowed(self) -> Self:
        """Return the same rule for windows that hold their surroundings, so that nothing is padded."""
        rule = copy.copy(self)
        rule.padding = (0, 0)
        return rule

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Compute the maxima."""
        return F.max_pool2d(values, self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode)

    def forward_keeping(self, values: torch.Tensor) -> tuple[torch.Tensor, Kept]:
        """Compute the maxima; keep the shape and the winners' positions."""
        output, winners = F.max_pool2d_with_indices(
            values, self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode
        )
        return output, Kept(values.shape[1:], winners=winners)

    def backward(self, kept: Kept, relevance: torch.Tensor) -> torch.Tensor:
        """Hand each output's relevance to its winner."""
        n_rows, winners = len(relevance), kept.winners
        layout = torch.channels_last
        like = torch.empty((n_rows, *kept.shape), dtype=relevance.dtype, device=relevance.device, memory_format=layout)
        result: torch.Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
            relevance.contiguous(memory_format=layout),
            like,
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            winners.expand(n_rows, *winners.shape[1:]).contiguous(memory_format=layout),
        )
        return result


class AveragePoolingRule(Rule):
    """Average pooling, plain or adaptive: the Norm rule."""

    def __init__(self, step: chain.AveragePooling) -> None:
        super().__init__(step.name)
        self.step = step

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Compute the averages."""
        output = chain.average_pool(self.step, values)
        return output.clone() if output is values else output

    def keep(self, values: torch.Tensor, output: torch.Tensor) -> Kept:
        """Keep the input and the stabilised output."""
        return Kept(values=values, total=stabilise(output))

    def backward(self, kept: Kept, relevance: torch.Tensor) -> torch.Tensor:
        """Share each output's relevance out in proportion to its inputs."""
        share = relevance / kept.total
        like = kept.values.expand(len(share), *kept.values.shape[1:])
        return self._transposed(share, like) * kept.values

    def _transposed(self, share: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        step = self.step
        spread: torch.Tensor
        if step.output_size is None:
            spread = torch.ops.aten.avg_pool2d_backward(
                share,
                like,
                step.kernel,
                step.stride,
                step.padding,
                step.ceil_mode,
                step.count_include_pad,
                step.divisor,
            )
        elif share.shape == like.shape:
            spread = share
        elif share.shape[2:] == (1, 1):
            spread = (share / (like.shape[2] * like.shape[3])).expand_as(like)
        else:
            spread = torch.ops.aten._adaptive_avg_pool2d_backward(share, like)
        return spread


class EpsilonRule(Rule):
    """A linear layer: the Epsilon rule."""

    def __init__(self, step: chain.Dense, *, zero_params: bool) -> None:
        super().__init__(step.name)
        self.weight, self.bias, self.zero_params = step.weight, step.bias, zero_params

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Compute W x + b."""
        return F.linear(values, self.weight, self.bias)

    def keep(self, values: torch.Tensor, output: torch.Tensor) -> Kept:
        """Keep the input and the stabilised output."""
        return Kept(values=values, total=stabilise(F.linear(values, self.weight) if self.zero_params else output))

    def backward(self, kept: Kept, relevance: torch.Tensor) -> torch.Tensor:
        """Compute x * ((R / stab(z)) W)."""
        return (relevance / kept.total).mm(self.weight).mul_(kept.values)


class FlatDenseRule(EpsilonRule):
    """A linear layer that comes first: the Flat rule."""

    def keep(self, values: torch.Tensor, output: torch.Tensor) -> Kept:
        """Keep nothing."""
        return Kept()

    def backward(self, kept: Kept, relevance: torch.Tensor) -> torch.Tensor:
        """Share all relevance out evenly."""
        n_inputs = self.weight.shape[1]
        return (relevance.sum(1, keepdim=True) / (n_inputs + EPSILON)).expand(-1, n_inputs)


class ConvolutionRule(Rule):
    """A convolution: geometry and forward pass, shared by its rules."""

    def __init__(self, step: chain.Convolution) -> None:
        super().__init__(step.name)
        self.weight, self.bias = step.weight, step.bias
        self.stride, self.padding, self.dilation, self.groups = step.stride, step.padding, step.dilation, step.groups
        self.kernel: Pair = (int(step.weight.shape[2]), int(step.weight.shape[3]))
        self._transformed: dict[str, torch.Tensor] = {}

    def convolve(self, values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Convolve with another weight of the same shape."""
        return F.conv2d(values, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def spread(
        self, share: torch.Tensor, weight: torch.Tensor, size: Sequence[int], groups: int | None = None
    ) -> torch.Tensor:
        """Convolve transposed, back to an input of the given height and width."""
        geometry = zip(size, share.shape[2:], self.stride, self.padding, self.dilation, self.kernel, strict=True)
        extra = [n - ((m - 1) * s - 2 * p + d * (k - 1) + 1) for n, m, s, p, d, k in geometry]
        return F.conv_transpose2d(
            share, weight, None, self.stride, self.padding, extra, groups or self.groups, self.dilation
        )

    def pays_to_transform(self, values: torch.Tensor) -> bool:
        """Whether Winograd's algorithm is faster on these maps, and as good as exact: see `winograd`.

        Only in float32 on a CPU; CUDA's library chooses its algorithm itself, and float64 stays the direct sum.
        """
        return (
            values.dtype == torch.float32
            and values.device.type == "cpu"
            and (self.kernel, self.stride, self.dilation, self.groups) == ((3, 3), (1, 1), (1, 1), 1)
            and max(self.padding) <= 2
            and min(self.weight.shape[:2]) >= MIN_CHANNELS_TO_TRANSFORM
            and len(values) * values.shape[2] * values.shape[3] >= MIN_PIXELS_TO_TRANSFORM
            and winograd.fills_tiles(values.shape[2:])
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Compute W * x + b."""
        return self.convolve(values, self.weight, self.bias)

    def windowed(self) -> Self:
        """Return the same rule for windows that hold their surroundings, so that nothing is padded."""
        rule = copy.copy(self)
        rule.padding = (0, 0)
        return rule


class ZPlusRule(ConvolutionRule):
    """A convolution: the ZPlus rule.

    The half for negative inputs is left out where the input cannot be negative: there it is exactly zero.
    """

    def __init__(self, step: chain.Convolution, *, zero_params: bool, input_nonnegative: bool) -> None:
        super().__init__(step)
        self.input_nonnegative = input_nonnegative
        layout = torch.channels_last
        self.positive = step.weight.clamp(min=0).contiguous(memory_format=layout)
        bias = torch.zeros_like(step.bias) if zero_params else step.bias.clamp(min=0)
        # z is a sum of terms >= 0, so stabilising only ever adds epsilon: it goes in with the bias, for free
        self.stabilised_bias = bias + EPSILON
        if not input_nonnegative:
            self.negative = step.weight.clamp(max=0).contiguous(memory_format=layout)

    def keep(self, values: torch.Tensor, output: torch.Tensor) -> Kept:
        """Keep the input."""
        return Kept(values=values)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Compute the stabilised modified forward pass, z+ + z-."""
        if self.input_nonnegative:
            if self.pays_to_transform(values):
                total = winograd.convolve(values, self._weight_for("total"), self.padding).add_(self._bias_map)
                # rounding must not bring a sum of terms >= 0 below what stabilised it
                return total.clamp_(min=EPSILON)
            return self.convolve(values, self.positive, self.stabilised_bias)
        total = self.convolve(values.clamp(min=0), self.positive, self.stabilised_bias)
        return total.add_(self.convolve(values.clamp(max=0), self.negative, None))

    def backward(self, kept: Kept, relevance: torch.Tensor) -> torch.Tensor:
        """Compute x+ * convT(R / z, W+) + x- * convT(R / z, W-)."""
        values = kept.values
        share = relevance.div_(kept.total if len(kept.total) else self.total(values))
        result = self._spread_positive(share, values.shape[2:])
        if self.input_nonnegative:
            return result.mul_(values)
        below = self.spread(share, self.negative, values.shape[2:])
        return result.mul_(values.clamp(min=0)).add_(below.mul_(values.clamp(max=0)))

    def _spread_positive(self, share: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        """Convolve transposed with W+."""
        if self.pays_to_transform(share):
            return winograd.convolve(share, self._weight_for("spread"), (2 - self.padding[0], 2 - self.padding[1]))
        return self.spread(share, self.positive, size)

    def _weight_for(self, purpose: str) -> torch.Tensor:
        """Return W+ transformed for its convolution or its transposed one; kept, as every batch needs it."""
        if purpose not in self._transformed:
            transform = winograd.transform_weight if purpose == "total" else winograd.transform_transposed
            self._transformed[purpose] = transform(self.positive)
        return self._transformed[purpose]

    @property
    def _bias_map(self) -> torch.Tensor:
        return self.stabilised_bias.view(1, -1, 1, 1)


class FlatRule(ConvolutionRule):
    """A convolution that comes first: the Flat rule."""

    def keep(self, values: torch.Tensor, output: torch.Tensor) -> Kept:
        """Keep the shape."""
        return Kept(values.shape[1:])

    def backward(self, kept: Kept, relevance: torch.Tensor) -> torch.Tensor:
        """Share each output's relevance out evenly over the inputs in bounds."""
        n, _, height, width = relevance.shape
        by_group = relevance.reshape(n, self.groups, -1, height, width).sum(2)
        return self.spread_evenly(kept.shape, by_group).repeat_interleave(kept.shape[0] // self.groups, dim=1)

    def spread_evenly(self, shape: Sequence[int], by_group: torch.Tensor) -> torch.Tensor:
        """Spread (m, groups, h, w) relevance over an input of `shape`; returns (m, groups, height, width)."""
        return self.spread_shares(by_group / self.n_inputs(shape, by_group), shape[1:])

    def n_inputs(self, shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        """Count each output's inputs in bounds, stabilised; (1, 1, h, w) in the precision of `like`."""
        taps, frame = like.new_ones((1, 1, *self.kernel)), like.new_ones((1, 1, *shape[1:]))
        n_taps = F.conv2d(frame, taps, None, self.stride, self.padding, self.dilation)
        return n_taps * (shape[0] // self.groups) + EPSILON

    def spread_shares(self, shares: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        """Add up the shares that reach each input pixel, for each group."""
        if self.stride != (1, 1) or self.dilation != (1, 1):
            return self.spread(shares, shares.new_ones((self.groups, 1, *self.kernel)), size, self.groups)
        # a transposed convolution with ones is a sum over boxes, which a pooling does several times faster
        rows, columns = (k - 1 - p for k, p in zip(self.kernel, self.padding, strict=True))
        around = F.pad(shares, (columns, columns, rows, rows))
        return F.avg_pool2d(around, self.kernel, 1, divisor_override=1)
